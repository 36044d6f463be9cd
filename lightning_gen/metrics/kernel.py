"""Means of the cubic kernel k(x, y) = (x.y / d + 1)^3 over many sets of images, each pair of images taken once."""

import torch
from torch import Tensor

BLOCK = 2048  # rows and columns of a block of the kernel matrix, 16 MiB
MOST_SETS = 2048  # whose weights, 4 bytes an image and set, are held at a time


def means_within(features: Tensor, sets: Tensor) -> Tensor:
    """Mean kernel `(S,)` of the pairs of different images of each set, of features `(N, d)` and indices `(S, n)`."""
    n = sets.shape[1]
    return _sums(features, None, sets, sets) / (n * (n - 1))


def means_across(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean kernel `(S,)` of images `rows` `(S, n)` of `a` `(N, d)` and `columns` `(S, m)` of `b` `(M, d)`."""
    return _sums(a, b, rows, columns) / (rows.shape[1] * columns.shape[1])


def _sums(a: Tensor, b: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """Sums `(S,)` in float64; without `b`, those within `a` but of an image and itself, with `columns` = `rows`."""
    total = len(a) * len(a if b is None else b)
    # Many sets share the kernels of all images; few small sets are cheaper one by one.
    share = total * (a.shape[1] + len(rows)) < len(rows) * rows.shape[1] * columns.shape[1] * a.shape[1]
    parts = zip(rows.split(MOST_SETS if share else 1), columns.split(MOST_SETS if share else 1), strict=True)
    return torch.cat([_sums_of_all(a, b, *part) if share else _sum_of_one(a, b, *part) for part in parts])


def _sum_of_one(a: Tensor, b: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    a, b = a[rows[0]], None if b is None else b[columns[0]]
    rows, columns = (torch.arange(indices.shape[1], device=a.device)[None] for indices in (rows, columns))
    return _sums_of_all(a, b, rows, columns)


def _sums_of_all(a: Tensor, b: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """For 0/1 weights v and w of rows and columns, v^T K w: a product of matrices for all sets, block by block."""
    others = a if b is None else b
    row_weights = _weights(rows, a)
    column_weights = row_weights if b is None else _weights(columns, others)
    sums = torch.zeros(len(rows), dtype=torch.float64, device=a.device)
    for top in range(0, len(a), BLOCK):
        for left in range(top if b is None else 0, len(others), BLOCK):
            y, x = slice(top, top + BLOCK), slice(left, left + BLOCK)
            kernel = (a[y] @ others[x].T).div_(a.shape[1]).add_(1).pow_(3)
            if b is None and top == left:
                kernel.fill_diagonal_(0)
            added = ((row_weights[:, y] @ kernel) * column_weights[:, x]).sum(1, dtype=torch.float64)
            sums += added if b is not None or top == left else 2 * added  # a block on the other side has the same
    return sums


def _weights(sets: Tensor, features: Tensor) -> Tensor:
    """1 for images of a set, 0 for others, `(S, N)`."""
    return features.new_zeros(len(sets), len(features)).scatter_(1, sets, 1)
