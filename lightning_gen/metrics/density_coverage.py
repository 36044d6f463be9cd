"""Density and coverage, more robust to outliers than precision and recall, https://arxiv.org/abs/2002.09797."""

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.neighbors import NeighborMetric, distances, radii


class DensityCoverage(NeighborMetric):
    """Density: mean number of real balls that contain a sample, divided by `k`; expected value 1 for equal sets.
    Coverage: fraction of real balls that contain a sample. Balls reach to a real image's `k`-th real neighbor.
    """

    better = {"density": "higher", "coverage": "higher"}

    def __init__(self, k: PositiveInt = 5):
        super().__init__(k)

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        radius = radii(real, self.k)
        num_balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
        covered = torch.zeros_like(radius, dtype=torch.bool)
        for rows, columns, block in distances(fake, real):
            inside = block <= radius[columns]
            num_balls[rows] += inside.sum(1)
            covered[columns] |= inside.any(0)
        return {"density": num_balls.double().mean() / self.k, "coverage": covered.double().mean()}
