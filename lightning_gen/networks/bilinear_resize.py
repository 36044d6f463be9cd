"""Antialiased bilinear resizing between two fixed sizes, as products with a matrix for each side.

The products are those of `F.interpolate`, whose derivatives are not deterministic on CUDA, are several times slower on
a CPU, and are computed in float32 under autocast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BilinearResize(nn.Module):
    """Maps `(B, C, *before)` to `(B, C, *after)` in the same memory format.

    Where a side grows this is plain bilinear interpolation.
    """

    rows: Tensor  # (H after, H before)
    columns: Tensor  # (W before, W after)

    def __init__(self, before: tuple[int, int], after: tuple[int, int]):
        super().__init__()
        self.register_buffer("rows", weights(before[0], after[0]), persistent=False)
        self.register_buffer("columns", weights(before[1], after[1]).T.contiguous(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        if maps.is_contiguous() or not maps.is_contiguous(memory_format=torch.channels_last):
            return self.rows @ (maps @ self.columns)
        pixels = self.columns.T @ maps.permute(0, 2, 3, 1)  # (B, H before, W after, C): products without copies
        return (self.rows @ pixels.flatten(2)).unflatten(2, pixels.shape[2:]).permute(0, 3, 1, 2)


def weights(before: int, after: int) -> Tensor:
    """The weights `(after, before)` of a side's pixels."""
    units = torch.eye(before, dtype=torch.float64)[None, None]
    resized = F.interpolate(units, size=(after, before), mode="bilinear", antialias=True)
    return resized[0, 0].to(torch.get_default_dtype())
