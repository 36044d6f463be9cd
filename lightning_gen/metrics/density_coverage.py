"""Density and coverage, more robust to outliers than precision and recall, https://arxiv.org/abs/2002.09797."""

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.neighbors import NeighborMetric, distances


class DensityCoverage(NeighborMetric):
    """Density: mean number of real balls that contain a sample, divided by `k`; expected value 1 for equal sets.
    Coverage: fraction of real balls that contain a sample. Balls reach to a real image's `k`-th real neighbor.
    """

    better = {"density": "higher", "coverage": "higher"}

    def __init__(self, k: PositiveInt = 5):
        super().__init__(k)

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> list[dict[str, Tensor]]:
        radius = self.real_radii(real)
        members = fake.new_zeros(len(parts), len(fake)).scatter_(1, parts, 1)
        num_balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
        covered = torch.zeros(len(parts), len(real), dtype=torch.bool, device=real.device)
        for rows, columns, block in distances(fake, real):
            inside = block <= radius[columns]
            num_balls[rows] += inside.sum(1)
            covered[:, columns] |= members[:, rows] @ inside.to(members.dtype) > 0
        densities, coverages = num_balls[parts].double().mean(1) / self.k, covered.double().mean(1)
        return [{"density": d, "coverage": c} for d, c in zip(densities, coverages, strict=True)]
