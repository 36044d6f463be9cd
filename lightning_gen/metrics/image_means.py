"""Means over images, with their standard errors."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_gen.metrics.image_metric import PairedMetric


class ImageMeans(PairedMetric):
    """Base of metrics that average one value per image for each of `kinds`; a kind may be missing (small images)."""

    def __init__(self, *kinds: str):
        super().__init__()
        self.kinds = kinds
        self.errors: dict[str, float] = {}
        for kind in kinds:
            # number of images, sum, sum of squares
            self.add_state(kind, torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def accumulate(self, kind: str, values: Tensor) -> None:
        """Add values `(B,)` of a kind, one per image."""
        state = getattr(self, kind)
        values = values.detach().to(state.device).double()
        setattr(self, kind, state + torch.stack([values.new_tensor(len(values)), values.sum(), values.square().sum()]))

    def means(self) -> dict[str, Tensor]:
        """Means by kind; kinds without values are left out, unless there are no values at all: then all are NaN."""
        states = {kind: getattr(self, kind) for kind in self.kinds}
        if any(state[0] > 0 for state in states.values()):
            states = {kind: state for kind, state in states.items() if state[0] > 0}
        self.errors = {kind: _standard_error(*state.tolist()) for kind, state in states.items() if state[0] > 1}
        return {kind: state[1] / state[0] for kind, state in states.items()}


def _standard_error(count: float, total: float, squares: float) -> float:
    """Standard error of the mean, from the unbiased variance."""
    variance = (squares - total**2 / count) / (count - 1)
    return math.nan if math.isnan(variance) else math.sqrt(max(variance, 0) / count)


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of values; None for fewer than two values, or if one is not finite."""
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
