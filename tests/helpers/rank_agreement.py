"""A callback for tests of several processes."""

import torch
from lightning.pytorch import Callback


class RanksAgree(Callback):
    """Fails the run unless all ranks end with the same weights."""

    def on_train_end(self, trainer, model):
        mine = torch.cat([p.detach().flatten() for p in model.parameters()])
        all_ranks = trainer.strategy.all_gather(mine).view(trainer.world_size, -1)
        assert (all_ranks == mine).all(), "ranks differ"
