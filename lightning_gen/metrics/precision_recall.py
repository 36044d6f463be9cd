"""Improved precision and recall, https://arxiv.org/abs/1904.06991, section 2."""

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.neighbors import NeighborMetric, distances, radii


class PrecisionRecall(NeighborMetric):
    """The share of samples that lie among the real images, and of real images that lie among the samples.

    To lie among a set is to be in the ball of one of its features, which reaches to that one's `k`-th neighbor.
    """

    better = {"precision": "higher", "recall": "higher"}

    def __init__(self, k: PositiveInt = 3):
        super().__init__(k)

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        real_reach, fake_reach = radii(real, self.k), radii(fake, self.k)
        among_real = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
        among_fake = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        for rows, columns, block in distances(fake, real):
            among_real[rows] |= (block <= real_reach[columns]).any(1)  # eq. 1 and 2
            among_fake[columns] |= (block <= fake_reach[rows, None]).any(0)
        return {"precision": among_real.double().mean(), "recall": among_fake.double().mean()}
