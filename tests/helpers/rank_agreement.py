"""A callback for tests of several processes."""

from itertools import chain

import torch
from lightning.pytorch import Callback


class RanksAgree(Callback):
    """Fails the run unless all ranks end with the same weights and statistics."""

    def on_train_end(self, trainer, model):
        mine = torch.cat([tensor.detach().flatten() for tensor in chain(model.parameters(), model.buffers())])
        all_ranks = trainer.strategy.all_gather(mine).view(trainer.world_size, -1)
        assert (all_ranks == mine).all(), "ranks differ"
