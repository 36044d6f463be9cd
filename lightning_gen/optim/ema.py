"""Exponential moving averages (EMA) of weights, as a module that is saved, moved and loaded with its model.

torch's `AveragedModel` reads its counter from the device at every update, which stalls a GPU each step; this one
needs no counter. Lightning's EMAWeightAveraging counts optimizer steps, which goes wrong with two optimizers.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from lightning_gen.optim.sharding import local
from lightning_gen.utilities.compat import copy_each, move_each

Pairs = tuple[list[Tensor], list[Tensor]]  # of an average, and of its source


class WeightAverage(nn.Module):
    """EMA of the weights of `source`: `average <- decay * average + (1 - decay) * weights`.

    The decay warms up as `(1 + step) / (10 + step)`, so that initial weights are forgotten in short runs, too.
    Floating-point buffers are averaged as well, others copied.
    """

    module: nn.Module

    def __init__(self, source: nn.Module, decay: float):
        super().__init__()
        self.module = deepcopy(source).requires_grad_(False)
        self.decay = decay
        # Cached, as walking through two modules at every step costs more than the averaging.
        self._pairs: tuple[Pairs, Pairs] | None = None

    def share(self, step: int) -> float:
        """The share of the new weights, 1 - decay, after optimizer step number `step`, counted from 0."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, source: nn.Module, share: float | Tensor) -> None:
        """Update with the weights of `source`, whose share is a number, or a tensor of zero dimensions."""
        if self._pairs is None:
            self._pairs = _pairs(self.module, source)
        (averages, weights), copied = self._pairs
        if averages:
            move_each(averages, weights, share)
        if copied[0]:
            copy_each(*copied)

    def _apply(self, fn, recurse: bool = True):
        self._pairs = None  # moving a module replaces its buffers
        return super()._apply(fn, recurse)


def _pairs(average: nn.Module, source: nn.Module) -> tuple[Pairs, Pairs]:
    """The averaged and the copied tensors of two modules of one architecture, this rank's parts of sharded ones."""
    averages = map(local, [*average.parameters(), *average.buffers()])
    current = map(local, [*source.parameters(), *source.buffers()])
    floating: Pairs = [], []
    others: Pairs = [], []
    for ours, theirs in zip(averages, current, strict=True):
        pairs = floating if ours.is_floating_point() else others
        pairs[0].append(ours)
        pairs[1].append(theirs)
    return floating, others
