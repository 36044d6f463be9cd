"""Density and coverage, which outliers disturb less than precision and recall, https://arxiv.org/abs/2002.09797."""

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.neighbors import NeighborMetric, distances, radii


class DensityCoverage(NeighborMetric):
    """How many real images' balls hold a sample, over `k` (1 is expected of equal sets, more is possible), and the
    share of real images whose ball holds one; balls reach to a real image's `k`-th real neighbor.
    """

    better = {"density": "higher", "coverage": "higher"}

    def __init__(self, k: PositiveInt = 5):
        super().__init__(k)

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        reach = radii(real, self.k)
        held_by = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
        holds = torch.zeros_like(reach, dtype=torch.bool)
        for rows, columns, block in distances(fake, real):
            inside = block <= reach[columns]
            held_by[rows] += inside.sum(1)
            holds[columns] |= inside.any(0)
        return {"density": held_by.double().mean() / self.k, "coverage": holds.double().mean()}
