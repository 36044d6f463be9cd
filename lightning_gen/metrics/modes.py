"""Coverage of the modes of a known mixture of Gaussians, https://arxiv.org/abs/1712.04086, section 4.1."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.metrics.image_metric import SampleMetric


class GaussianModes(SampleMetric):
    """Mode coverage and quality of samples, for data with known `centers` and `std`.

    Samples within `radius` standard deviations of a center are of high quality (98.9 % of the data are within 3). A
    mode is covered if it has at least `least` samples of high quality. `reverse_kl` is the KL in nats of the nearest
    modes of all samples from the uniform distribution.
    """

    better = {"modes": "higher", "high_quality": "higher", "reverse_kl": "lower"}

    nearest: Tensor  # samples by nearest mode
    good: Tensor  # of these, those of high quality
    count: Tensor  # all samples
    centers: Tensor  # (M, 2)

    def __init__(self, radius: PositiveFloat = 3.0, least: PositiveInt = 1):
        super().__init__()
        self.radius = radius
        self.least = least

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
        """Add points `(B, 1, 1, 2)`; points that are not finite belong to no mode."""
        points = images.flatten(1).to(self.centers.device).float()  # (B, 2)
        self.count += len(points)
        points = points[points.isfinite().all(1)]
        distances = (points[:, None] - self.centers).norm(dim=2)  # (B, M)
        smallest, mode = distances.min(1)
        modes = len(self.centers)
        self.nearest += mode.bincount(minlength=modes)
        self.good += mode[smallest <= self.radius * self.std].bincount(minlength=modes)

    def compute(self) -> dict[str, Tensor]:
        """Covered modes, fraction of high quality, and KL, which is NaN without a finite sample."""
        return {
            "modes": (self.good >= self.least).sum().double(),
            "high_quality": self.good.sum().double() / self.count,
            "reverse_kl": kl_of_counts(self.nearest, torch.ones_like(self.nearest)),
        }

    def protocol(self) -> dict[str, Any]:
        """Criteria for high quality and coverage."""
        return {
            "high_quality_within_std": self.radius,
            "covered_from_samples": self.least,
            "modes_there_are": len(self.centers),
        }


def kl_of_counts(counts: Tensor, reference: Tensor) -> Tensor:
    """KL(p || q) in nats, with p and q proportional to `counts` and `reference` `(M,)`; NaN without counts."""
    p, q = counts.double() / counts.sum(), reference.double() / reference.sum()
    terms = torch.where(counts > 0, p * (p.log() - q.log()), 0.0)
    return terms.sum() if counts.sum() > 0 else terms.new_full((), math.nan)
