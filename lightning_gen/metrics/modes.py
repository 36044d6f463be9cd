"""Which modes of a known mixture of Gaussians the samples reach, https://arxiv.org/abs/1712.04086, section 4.1."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveFloat
from lightning_gen.metrics.image_metric import SampleMetric


class GaussianModes(SampleMetric):
    """Counts of samples by their nearest center, for data that know their `centers` and `std`.

    A sample is of high quality within `radius` standard deviations of a center (98.9 % of the data are within 3), and
    a mode is covered if `least` samples of high quality lie at it. `reverse_kl` is that of all samples' nearest modes
    from the uniform distribution, in nats.
    """

    better = {"modes": "higher", "high_quality": "higher", "reverse_kl": "lower"}

    nearest: Tensor
    good: Tensor
    count: Tensor

    def __init__(self, radius: PositiveFloat = 3.0, least: int = 1):
        super().__init__()
        self.radius = radius
        self.least = least
        self.centers: Tensor | None = None

    def why_not(self, model: Any, data: Any) -> str | None:
        return None if hasattr(data, "centers") else f"data={data.name} has no known centers (data=gaussians has)"

    def start(self, data: Any, split: str) -> None:
        self.centers, self.std = data.centers.to(self.device), data.std
        for state in ("nearest", "good"):
            zeros = torch.zeros(len(self.centers), dtype=torch.int64, device=self.device)
            self.add_state(state, zeros, dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64, device=self.device), dist_reduce_fx="sum")
        super().start(data, split)

    def update(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Take in points `(B, 1, 1, 2)`; those that are not finite are at no mode."""
        points = images.flatten(1).to(self.centers.device).float()  # (B, 2)
        self.count += len(points)
        points = points[points.isfinite().all(1)]
        distances = (points[:, None] - self.centers).norm(dim=2)  # (B, M)
        smallest, mode = distances.min(1)
        modes = len(self.centers)
        self.nearest += mode.bincount(minlength=modes)
        self.good += mode[smallest <= self.radius * self.std].bincount(minlength=modes)

    def compute(self) -> dict[str, Tensor]:
        """Covered modes, the share of high quality, and the divergence, NaN where no sample is finite."""
        return {
            "modes": (self.good >= self.least).sum().double(),
            "high_quality": self.good.sum().double() / self.count,
            "reverse_kl": kl_of_counts(self.nearest, torch.ones_like(self.nearest)),
        }

    def protocol(self) -> dict[str, Any]:
        """When a sample is good, and a mode covered."""
        return {
            "high_quality_within_std": self.radius,
            "covered_from_samples": self.least,
            "modes_there_are": len(self.centers),
        }


def kl_of_counts(counts: Tensor, reference: Tensor) -> Tensor:
    """KL in nats of the shares of `counts` from those of `reference`: `sum p log(p / q)`; infinite where q lacks p."""
    p, q = counts.double() / counts.sum(), reference.double() / reference.sum()
    terms = torch.where(counts > 0, p * (p.log() - q.log()), 0.0)
    return terms.sum() if counts.sum() > 0 else terms.new_full((), math.nan)
