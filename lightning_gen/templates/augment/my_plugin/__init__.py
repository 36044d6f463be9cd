"""Cutout, https://arxiv.org/abs/1708.04552: a square of each training image is left out."""

import torch
from torch import Tensor

from lightning_gen.bounds import UnitInterval


class MyOption:
    """A square of `size` times the shorter side, at a random place, becomes black in all channels and frames."""

    takes_bytes = True  # uint8 images as well as floats in [-1, 1]

    def __init__(self, size: UnitInterval):
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        """A batch `(B, C, H, W)` or `(B, T, C, H, W)`, which is not changed in place."""
        height, width = images.shape[-2:]
        half = self.size * min(height, width) / 2
        near_row = near(height, half, images)[:, :, None]  # (B, H, 1)
        inside = near_row & near(width, half, images)[:, None]  # (B, H, W)
        black = 0 if images.dtype == torch.uint8 else -1
        return images.masked_fill(inside.view(len(images), *[1] * (images.ndim - 3), height, width), black)


def near(side: int, half: float, images: Tensor) -> Tensor:
    """Which pixels of a side are within `half` of a random one, `(B, side)`."""
    center = torch.rand(len(images), 1, device=images.device) * side
    return (torch.arange(side, device=images.device) + 0.5 - center).abs() < half
