"""Resizing of images to the input size of extractors; scores depend on it, https://arxiv.org/abs/2104.11222."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ResizeMode = Literal["tf", "clean", "torchmetrics"]
RESIZE_MODES = {
    "tf": "bilinear of TensorFlow 1, not antialiased",
    "clean": "bicubic of PIL, antialiased",
    "torchmetrics": "bilinear of PyTorch, antialiased",
}


def resize(images: Tensor, size: int | tuple[int, int], mode: ResizeMode) -> Tensor:
    """Images `(B, C, H, W)` of any type in 0...255 to float32 `(B, C, size, size)`, or of `size` (height, width).

    - `tf`: as in published FIDs; skips pixels when downsampling.
    - `clean`: as in clean-fid, PIL's bicubic on float values, without rounding.
    - `torchmetrics`: as in torchmetrics from 1.8 on.
    """
    images = images.float()
    size = (size, size) if isinstance(size, int) else size
    if mode == "tf":
        return _tensorflow(images, size)
    if images.shape[-2:] == size:
        return images
    if mode == "clean":
        # With antialias=True this is PIL's filter, a = -0.5, for downsampling and upsampling.
        cubic = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
        return cubic.clamp(0, 255)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _tensorflow(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Bilinear with pixel i at i * H / size of the original, without the usual half-pixel offset."""
    for dim, size in ((3, sides[1]), (2, sides[0])):
        length = images.shape[dim]
        position = torch.arange(size, dtype=torch.float32, device=images.device)
        position = position * torch.tensor(length / size, dtype=torch.float32, device=images.device)
        low = position.long()
        weight = (position - low).view(-1, *[1] * (3 - dim))
        first = images.index_select(dim, low)
        second = images.index_select(dim, (low + 1).clamp(max=length - 1))
        images = first + (second - first) * weight
    return images
