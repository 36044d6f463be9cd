"""Squares of pixels as channels, https://arxiv.org/abs/1609.05158: networks that work at a fraction of the size."""

import torch.nn.functional as F
from torch import Tensor, nn


class ToPatches(nn.Module):
    """Images `(B, C, H, W)` to maps `(B, C * patch^2, H / patch, W / patch)`, sides rounded up: borders are repeated."""

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch

    def forward(self, images: Tensor) -> Tensor:
        if self.patch == 1:
            return images
        below, right = (-side % self.patch for side in images.shape[2:])
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        return F.pixel_unshuffle(images, self.patch)


class FromPatches(nn.Module):
    """Maps to images of `image_size`, what `ToPatches` has made of them."""

    def __init__(self, patch: int, image_size: tuple[int, int]):
        super().__init__()
        self.patch, self.image_size = patch, image_size

    def forward(self, maps: Tensor) -> Tensor:
        height, width = self.image_size
        return F.pixel_shuffle(maps, self.patch)[:, :, :height, :width]


def patched(image_shape: tuple[int, int, int], patch: int) -> tuple[int, int]:
    """Height and width of the maps that `ToPatches` makes of images."""
    return -(-image_shape[1] // patch), -(-image_shape[2] // patch)
