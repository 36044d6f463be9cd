"""Residual encoder and decoder of pre-activation blocks (https://arxiv.org/abs/1603.05027)."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.image_conv import ImageConv2d
from lightning_gen.networks.layers import (
    Activation,
    Normalization,
    activation_layer,
    nearest,
    normalization_layer,
    pyramid,
    widths,
    with_condition,
)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection, `(B, C_in, H, W)` to `(B, C_out, H, W)`."""

    def __init__(self, in_channels: int, out_channels: int, activation: Activation, normalization: Normalization):
        super().__init__()
        first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.residual = nn.Sequential(
            normalization_layer(normalization, in_channels),
            activation_layer(activation),
            first,
            normalization_layer(normalization, out_channels),
            activation_layer(activation),
            last,
        )
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        # Blocks that are initialized to their skip connection train at any depth (https://arxiv.org/abs/1901.09321).
        nn.init.zeros_(last.weight)

    def forward(self, maps: Tensor) -> Tensor:
        return self.skip(maps) + self.residual(maps)


def residual_levels(
    channels: list[int], depth: int, activation: Activation, normalization: Normalization
) -> nn.ModuleList:
    """`depth` blocks for each entry of `channels`, the first of them from the number of channels before."""
    levels = nn.ModuleList()
    for before, after in zip(channels[:1] + channels, channels, strict=False):
        widths_in = [before] + [after] * (depth - 1)
        levels.append(nn.Sequential(*(ResidualBlock(n, after, activation, normalization) for n in widths_in)))
    return levels


class ResNetEncoder(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`: `depth` blocks per level, and average pooling."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 256,
        activation: Activation = "silu",
        normalization: Normalization = "group",
    ):
        super().__init__()
        channels, height, image_width = image_shape
        channels += condition_dim
        sizes = pyramid(height, image_width)
        levels = widths(width, len(sizes), largest)
        self.stem = ImageConv2d(channels, levels[0], 3, padding=1)
        self.levels = residual_levels(levels, depth, activation, normalization)
        channels = levels[-1]
        self.head = nn.Sequential(
            normalization_layer(normalization, channels),
            activation_layer(activation),
            nn.Flatten(),
            nn.Linear(channels * sizes[-1][0] * sizes[-1][1], out_dim),
        )

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.levels[0](self.stem(images, condition))
        for level in self.levels[1:]:
            maps = level(F.avg_pool2d(maps, 2, ceil_mode=True, count_include_pad=False))
        return self.head(maps)


class ResNetDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation; nearest upsampling between levels."""

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 256,
        activation: Activation = "silu",
        normalization: Normalization = "group",
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        self.sizes = pyramid(height, image_width)[::-1]
        levels = widths(width, len(self.sizes), largest)[::-1]
        self.start = (levels[0], *self.sizes[0])
        self.stem = nn.Linear(in_dim + condition_dim, levels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.levels = residual_levels(levels, depth, activation, normalization)
        channels = levels[-1]
        self.out = nn.Sequential(
            normalization_layer(normalization, channels),
            activation_layer(activation),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        vectors = with_condition(vectors, condition)
        maps = self.levels[0](self.stem(vectors).unflatten(1, self.start))
        for level, size in zip(self.levels[1:], self.sizes[1:], strict=True):
            maps = level(nearest(maps, size))
        return self.out(maps)
