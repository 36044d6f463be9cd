"""Means over images that know how far they may be off."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_gen.metrics.image_metric import PairedMetric


class ImageMeans(PairedMetric):
    """Base of metrics that are means of values of each image, named by `kinds`; a kind may lack (too small images)."""

    def __init__(self, *kinds: str):
        super().__init__()
        self.kinds = kinds
        self.errors: dict[str, float] = {}
        for kind in kinds:
            # number of images, sum, sum of squares
            self.add_state(kind, torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def take(self, kind: str, values: Tensor) -> None:
        """Take in values `(B,)` of as many images."""
        state = getattr(self, kind)
        values = values.detach().to(state.device).double()
        setattr(self, kind, state + torch.stack([values.new_tensor(len(values)), values.sum(), values.square().sum()]))

    def means(self) -> dict[str, Tensor]:
        """By kind; those that no image had are left out, unless none was seen at all: then all are NaN."""
        states = {kind: getattr(self, kind) for kind in self.kinds}
        if any(state[0] > 0 for state in states.values()):
            states = {kind: state for kind, state in states.items() if state[0] > 0}
        self.errors = {kind: _standard_error(*state.tolist()) for kind, state in states.items() if state[0] > 1}
        return {kind: state[1] / state[0] for kind, state in states.items()}


def _standard_error(count: float, total: float, squares: float) -> float:
    """Of the mean of so many values, the deviation being the unbiased one."""
    variance = (squares - total**2 / count) / (count - 1)
    return math.nan if math.isnan(variance) else math.sqrt(max(variance, 0) / count)


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of values; None of fewer than two, or where one is not finite."""
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
