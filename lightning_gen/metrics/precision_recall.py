"""Improved precision and recall, https://arxiv.org/abs/1904.06991, section 2."""

import torch
from torch import Tensor

from lightning_gen.metrics.neighbours import NeighbourMetric, distances, radii


class PrecisionRecall(NeighbourMetric):
    """The share of samples that lie among the real images, and of real images that lie among the samples.

    To lie among a set is to be in the ball of one of its features, which reaches to that one's `k`-th neighbour.
    """

    better = {"precision": "higher", "recall": "higher"}

    def __init__(self, k: int = 3):
        super().__init__(k)

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return {"precision": share_among(fake, real, self.k), "recall": share_among(real, fake, self.k)}


def share_among(points: Tensor, others: Tensor, k: int) -> Tensor:
    """The share of `points` `(N, d)` in the ball of any of `others` `(M, d)`, eq. 1 and 2."""
    reach = radii(others, k)
    inside = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for rows, columns, block in distances(points, others):
        inside[rows] |= (block <= reach[columns]).any(1)
    return inside.double().mean()
