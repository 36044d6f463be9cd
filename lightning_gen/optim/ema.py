"""Exponential moving averages of weights, as a module: saved, moved and reloaded with the model it follows.

torch's `AveragedModel` reads its counter from the device at every update, which stalls a GPU each step; this one
needs no counter. Lightning's EMAWeightAveraging counts optimizer steps, which goes wrong with two optimizers.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn
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
        self._pairs = None  # found once: walking two modules at every step costs more than the averaging

    @torch.no_grad()
    def update(self, source: nn.Module, step: int) -> None:
        """Take in the weights of `source` after its optimizer step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        floating, others = self._pairs = self._pairs or _pairs(self.module, source)
        if floating[0]:
            get_ema_multi_avg_fn(decay)(*floating, None)
        for average, value in zip(*others, strict=True):
            average.copy_(value)

    def _apply(self, fn, recurse: bool = True):
        self._pairs = None  # moving a module replaces its buffers
        return super()._apply(fn, recurse)


def _pairs(average: nn.Module, source: nn.Module) -> tuple[tuple[list[Tensor], list[Tensor]], ...]:
    """The tensors of both modules that are averaged, and those that are copied."""
    averages = [*average.parameters(), *average.buffers()]
    current = [*source.parameters(), *source.buffers()]
    both = list(zip(averages, current, strict=True))
    floating = [pair for pair in both if pair[0].is_floating_point()]
    others = [pair for pair in both if not pair[0].is_floating_point()]
    return tuple(([a for a, _ in pairs], [c for _, c in pairs]) for pairs in (floating, others))
