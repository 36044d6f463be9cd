"""The batch: the output of every data set and the input of every model."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Images, float in [-1, 1], `(B, C, H, W)` or `(B, T, C, H, W)`, and int64 labels `(B,)` or None."""

    images: Tensor
    labels: Tensor | None = None
