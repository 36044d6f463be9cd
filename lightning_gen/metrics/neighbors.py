"""Distances to nearest neighbors among features, in blocks that bound the memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.kept_features import KeptFeatures

BLOCK = 2048  # features on each side of a block of distances, which is then of 32 MiB


class NeighborMetric(KeptFeatures):
    """Base of metrics of balls that reach from a feature to its `k`-th nearest neighbor in its own set.

    All scores are NaN with not more than `k` images on a side.
    """

    def __init__(self, k: PositiveInt):
        super().__init__()
        self.k = k
        self.fewest = k + 1

    def protocol(self) -> dict[str, Any]:
        """How many neighbors a ball reaches over."""
        return {"k": self.k}


class Nearest:
    """The `k` features nearest to each of the queries `(n, d)`, of features that are seen batch by batch."""

    def __init__(self, queries: Tensor, k: int):
        self.queries = queries
        self.distances = queries.new_full((len(queries), k), torch.inf)
        self.numbers = torch.full((len(queries), k), -1, device=queries.device)  # in the order they were seen
        self.seen = 0

    def update(self, features: Tensor) -> None:
        """Take in features `(B, d)`."""
        k = self.distances.shape[1]
        for rows, columns, block in distances(self.queries, features):
            index = columns.start + block.topk(min(k, block.shape[1]), largest=False).indices
            # The block is of products of matrices, whose rounding would keep copies from being at a distance of 0.
            exact = [(self.queries[rows] - features[column]).norm(dim=1) for column in index.unbind(1)]
            merged = torch.cat([self.distances[rows], torch.stack(exact, 1)], 1)
            self.distances[rows], order = merged.topk(k, largest=False)
            self.numbers[rows] = torch.cat([self.numbers[rows], self.seen + index], 1).gather(1, order)
        self.seen += len(features)


def distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Euclidean distances of `a` `(N, d)` to `b` `(M, d)` in blocks `(n, m)`, each with its rows and columns.

    In float64: in single precision those of near neighbors would be rounding. All columns come for some rows before
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
