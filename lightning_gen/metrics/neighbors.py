"""Nearest neighbors among features, in blocks of bounded memory."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.stored_features import StoredFeaturesMetric

BLOCK = 2048  # rows and columns of a block of distances, 32 MiB in float64


class NeighborMetric(StoredFeaturesMetric):
    """Base of metrics with k-nearest-neighbor balls: each feature's ball reaches to its `k`-th neighbor in its own set.

    All scores are NaN with `k` or fewer images on a side.
    """

    def __init__(self, k: PositiveInt):
        super().__init__()
        self.k = k
        self.min_images = k + 1

    def real_radii(self, real: Tensor) -> Tensor:
        """Radii `(N,)` of the balls of the real images `(N, d)`."""
        if "radii" not in self.known_real:
            self.known_real["radii"] = radii(real, self.k)[0]
        return self.known_real["radii"]

    def protocol(self) -> dict[str, Any]:
        """The number of neighbors."""
        return {"k": self.k}


class Nearest:
    """The `k` nearest features of each query `(n, d)`, among features that come in batches."""

    def __init__(self, queries: Tensor, k: int):
        self.queries = queries
        self.distances = queries.new_full((len(queries), k), torch.inf)
        self.numbers = torch.full((len(queries), k), -1, device=queries.device)  # indices in the order of updates
        self.seen = 0

    def update(self, features: Tensor) -> None:
        """Add features `(B, d)`."""
        k = self.distances.shape[1]
        for rows, columns, block in distances(self.queries, features):
            index = columns.start + block.topk(min(k, block.shape[1]), largest=False).indices
            # Distances of a block come from matrix products, whose rounding hides that copies are at distance 0.
            exact = [(self.queries[rows] - features[column]).norm(dim=1) for column in index.unbind(1)]
            merged = torch.cat([self.distances[rows], torch.stack(exact, 1)], 1)
            self.distances[rows], order = merged.topk(k, largest=False)
            self.numbers[rows] = torch.cat([self.numbers[rows], self.seen + index], 1).gather(1, order)
        self.seen += len(features)


def distances(a: Tensor, b: Tensor | None = None) -> Iterator[tuple[slice, slice, Tensor]]:
    """Euclidean distances of `a` `(N, d)` to `b` `(M, d)` in blocks `(n, m)`, each with its rows and columns.

    Without `b` those within `a`, in blocks on the diagonal and to the right of it. In float64: in single precision,
    distances of near neighbors would be rounding errors. Blocks come row by row.
    """
    others = a if b is None else b
    for top in range(0, len(a), BLOCK):
        rows = slice(top, min(top + BLOCK, len(a)))
        block_rows = a[rows].double()
        for left in range(top if b is None else 0, len(others), BLOCK):
            columns = slice(left, min(left + BLOCK, len(others)))
            yield rows, columns, torch.cdist(block_rows, others[columns].double())


def radii(features: Tensor, k: int, parts: Tensor | None = None) -> Tensor:
    """Distance `(P, N)` of each feature to its `k`-th nearest neighbor within each part, features `(P, n)` by index.

    -1, a ball that holds nothing, for features that are no members of the part. Without `parts`, of all as one part.
    """
    parts = torch.arange(len(features), device=features.device)[None] if parts is None else parts
    nearest = features.new_full((len(parts), len(features), k + 1), torch.inf, dtype=torch.float64)
    for rows, columns, block in distances(features):
        for each, index in zip(nearest, parts, strict=True):
            upper, lower = _members(index, rows), _members(index, columns)
            distances_of_part = block[upper[:, None] - rows.start, lower - columns.start]
            _keep_nearest(each, upper, distances_of_part)
            if rows != columns:
                _keep_nearest(each, lower, distances_of_part.T.contiguous())
    outside = torch.ones(nearest.shape[:2], dtype=torch.bool, device=features.device).scatter_(1, parts, False)
    return nearest[:, :, k].masked_fill_(outside, -1)  # sorted; index 0 is the feature itself


def _members(index: Tensor, rows: slice) -> Tensor:
    return index[(index >= rows.start) & (index < rows.stop)]


def _keep_nearest(nearest: Tensor, index: Tensor, block: Tensor) -> None:
    """Merge distances of the features at `index` into those that are `nearest` so far."""
    found = block.topk(min(nearest.shape[1], block.shape[1]), largest=False).values
    merged = torch.cat([nearest[index], found], 1)
    nearest[index] = merged.topk(nearest.shape[1], largest=False).values
