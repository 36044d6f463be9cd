"""Improved precision and recall, https://arxiv.org/abs/1904.06991, section 2."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.capabilities import Classifies
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.neighbors import NeighborMetric, distances, radii


class PrecisionRecall(NeighborMetric):
    """Fraction of samples on the manifold of real images, and of real images on the manifold of samples.

    A manifold is the union of the balls around its features that reach to the `k`-th neighbor.
    """

    better = {"precision": "higher", "recall": "higher"}

    def __init__(self, k: PositiveInt = 3):
        super().__init__(k)

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        reason = super().why_unavailable(model, files, data, extractors)
        if reason is None or not isinstance(model, Classifies):
            return reason
        return "is of generated samples; metrics=[accuracy] gives the precision and recall of a classifier"

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> list[dict[str, Tensor]]:
        real_radius, fake_radii = self.real_radii(real), radii(fake, self.k, parts)
        on_real_manifold = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
        on_fake_manifold = torch.zeros(len(parts), len(real), dtype=torch.bool, device=real.device)
        for rows, columns, block in distances(fake, real):
            on_real_manifold[rows] |= (block <= real_radius[columns]).any(1)  # eq. 1 and 2
            for on_manifold, radius in zip(on_fake_manifold, fake_radii, strict=True):
                on_manifold[columns] |= (block <= radius[rows, None]).any(0)
        precisions, recalls = on_real_manifold[parts].double().mean(1), on_fake_manifold.double().mean(1)
        return [{"precision": p, "recall": r} for p, r in zip(precisions, recalls, strict=True)]
