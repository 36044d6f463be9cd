"""Exponential moving averages of weights, as a module: saved, moved and reloaded with the model it follows.

torch's `AveragedModel` reads its counter from the device at every update, which stalls a GPU each step; this one
needs no counter. Lightning's EMAWeightAveraging counts optimizer steps, which goes wrong with two optimizers.
"""

from copy import deepcopy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage(nn.Module):
    """The average of `source`'s weights: `average <- decay * average + (1 - decay) * weights`.

    The decay warms up as `(1 + step) / (10 + step)`, so that short runs don't keep their initial weights.
    Buffers that are not floating point are copied.
    """

    def __init__(self, source: nn.Module, decay: float):
        super().__init__()
        self.module = deepcopy(source).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, source: nn.Module, step: int) -> None:
        """Take in the weights of `source` after its optimizer step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = [*self.module.parameters(), *self.module.buffers()]
        current = [*source.parameters(), *source.buffers()]
        floating = [(a, c) for a, c in zip(averages, current, strict=True) if a.is_floating_point()]
        if floating:
            get_ema_multi_avg_fn(decay)(*map(list, zip(*floating, strict=True)), None)
        for average, value in zip(averages, current, strict=True):
            if not average.is_floating_point():
                average.copy_(value)
