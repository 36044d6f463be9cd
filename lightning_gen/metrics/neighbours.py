"""Distances to nearest neighbours among features, in blocks that bound the memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.metrics.image_metric import FeatureMetric

BLOCK = 2048  # features on each side of a block of distances, which is then of 32 MiB


class NeighbourMetric(FeatureMetric):
    """Base of metrics of balls that reach from a feature to its `k`-th nearest neighbour in its own set.

    Keeps all features, 5 KB an image with 1280 of them; subclasses implement `compare`. All scores are NaN with
    features that are not finite, or not more than `k` images on a side.
    """

    real_features: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self, k: int):
        super().__init__()
        self.k = k
        for state in ("real_features", "fake_features"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The scores of features `(N, d)` and `(M, d)`."""
        raise NotImplementedError

    def update(self, features: Tensor, real: bool) -> None:
        """Take in features `(B, d)`."""
        (self.real_features if real else self.fake_features).append(features)

    def compute(self) -> dict[str, Tensor]:
        """The scores, or NaN."""
        real, fake = (dim_zero_cat(features) for features in (self.real_features, self.fake_features))
        if min(len(real), len(fake)) <= self.k or not (real.isfinite().all() and fake.isfinite().all()):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        return self.compare(real, fake)

    def protocol(self) -> dict[str, Any]:
        """How many neighbours a ball reaches over."""
        return {"k": self.k}


def distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Euclidean distances of `a` `(N, d)` to `b` `(M, d)` in blocks `(n, m)`, each with its rows and columns.

    In float64: in single precision those of near neighbours would be rounding. All columns come for some rows before
    the next rows.
    """
    for top in range(0, len(a), BLOCK):
        rows = slice(top, min(top + BLOCK, len(a)))
        these = a[rows].double()
        for left in range(0, len(b), BLOCK):
            columns = slice(left, min(left + BLOCK, len(b)))
            yield rows, columns, torch.cdist(these, b[columns].double())


def radii(features: Tensor, k: int) -> Tensor:
    """Each feature's distance to its `k`-th nearest other one, `(N,)`."""
    nearest = features.new_full((len(features), k + 1), torch.inf, dtype=torch.float64)
    for rows, _, block in distances(features, features):
        nearest[rows] = torch.cat([nearest[rows], block], 1).topk(k + 1, largest=False).values
    return nearest[:, k]  # each is its own nearest, at distance 0; topk sorts
