"""ConvMixer, https://arxiv.org/abs/2201.09792, as an encoder or a discriminator."""

import torch
from torch import Tensor, nn

from lightning_gen.networks.layers import with_condition

POOLED = 4  # cells a side: a mean over the whole image would lose positions


class MyOption(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`: patches, mixed over space, then over channels."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,  # size of the label embedding in a conditional model
        *,
        width: int,
        depth: int,
        patch: int,
        kernel: int,
    ):
        super().__init__()
        channels = image_shape[0] + condition_dim
        self.patches = nn.Conv2d(channels, width, patch, stride=patch, padding=patch // 2)
        self.blocks = nn.Sequential(*(Block(width, kernel) for _ in range(depth)))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(POOLED), nn.Flatten(), nn.Linear(width * POOLED**2, out_dim))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.blocks(self.patches(with_condition(images, condition))))


class Block(nn.Module):
    """A depthwise convolution with a skip, then a pointwise one."""

    def __init__(self, width: int, kernel: int):
        super().__init__()
        self.space = nn.Conv2d(width, width, kernel, padding="same", groups=width)
        self.channels = nn.Conv2d(width, width, 1)
        self.norms = nn.ModuleList([nn.GroupNorm(1, width), nn.GroupNorm(1, width)])

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps + self.norms[0](torch.nn.functional.gelu(self.space(maps)))
        return self.norms[1](torch.nn.functional.gelu(self.channels(maps)))
