"""Ways to bring images to the size that an extractor wants: the same weights give other scores with each of them.

https://arxiv.org/abs/2104.11222 tells how much.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Protocol = Literal["tf", "clean", "torchmetrics"]
PROTOCOLS = {
    "tf": "bilinear of TensorFlow 1, not antialiased",
    "clean": "bicubic of PIL, antialiased",
    "torchmetrics": "bilinear of PyTorch, antialiased",
}


def resize(images: Tensor, size: int | tuple[int, int], protocol: Protocol) -> Tensor:
    """Images `(B, C, H, W)` of 0...255, any type, as float32 `(B, C, size, size)`, or of that height and width.

    - `tf`: what published FIDs were computed with; it skips pixels when it makes images smaller.
    - `clean`: that of clean-fid, PIL's bicubic on float values, without rounding.
    - `torchmetrics`: that of torchmetrics from 1.8 on.
    """
    images = images.float()
    size = (size, size) if isinstance(size, int) else size
    if protocol == "tf":
        return _tensorflow(images, size)
    if images.shape[-2:] == size:
        return images
    if protocol == "clean":
        # With antialias=True this is PIL's filter, a = -0.5, whether images become larger or smaller.
        cubic = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
        return cubic.clamp(0, 255)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def _tensorflow(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """Pixel i lies at i * H / size of the original, without the half pixel that others add."""
    for dim, size in ((3, sides[1]), (2, sides[0])):
        length = images.shape[dim]
        place = torch.arange(size, dtype=torch.float32, device=images.device)
        place = place * torch.tensor(length / size, dtype=torch.float32, device=images.device)
        low = place.long()
        weight = (place - low).view(-1, *[1] * (3 - dim))
        first = images.index_select(dim, low)
        second = images.index_select(dim, (low + 1).clamp(max=length - 1))
        images = first + (second - first) * weight
    return images
