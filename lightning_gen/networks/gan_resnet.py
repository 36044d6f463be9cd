"""ResNets of SNGAN, SAGAN and BigGAN, https://arxiv.org/abs/1802.05957, appendix B.4."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.attention import SelfAttention
from lightning_gen.networks.conditional_norm import ConditionalNorm
from lightning_gen.networks.layers import Normalization, nearest, normalization_layer, pyramid, widths, with_condition

Init = Literal["xavier", "orthogonal"]


class UpBlock(nn.Module):
    """Residual block, maps `(B, C_in, H, W)` to `(B, C_out, *size)`, with nearest upsampling before the first conv."""

    def __init__(
        self, before: int, after: int, size: tuple[int, int], normalization: Normalization, condition_dim: int
    ):
        super().__init__()
        self.size = size
        self.norm1 = ConditionalNorm(normalization, before, condition_dim)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = ConditionalNorm(normalization, after, condition_dim)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor, condition: Tensor | None = None) -> Tensor:
        residual = self.conv1(self.upsample(F.relu(self.norm1(maps, condition))))
        residual = self.conv2(F.relu(self.norm2(residual, condition)))
        # A 1x1 convolution commutes with upsampling, and is cheaper before it.
        return self.upsample(self.skip(maps)) + residual

    def upsample(self, maps: Tensor) -> Tensor:
        return nearest(maps, self.size)


class DownBlock(nn.Module):
    """Residual block to `C_out` channels, with 2x2 average pooling if `down`; `first` takes images."""

    def __init__(self, before: int, after: int, down: bool, first: bool):
        super().__init__()
        self.down = down
        self.first = first
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Conv2d(before, after, 1) if down or before != after else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.conv1(maps if self.first else F.relu(maps))
        residual = self.conv2(F.relu(residual))
        return self.skip(self.pool(maps)) + self.pool(residual)

    def pool(self, maps: Tensor) -> Tensor:
        return F.avg_pool2d(maps, 2, ceil_mode=True, count_include_pad=False) if self.down else maps


class GANResNetGenerator(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation; conditional normalization in blocks.

    Channels are halved at each level, from at most `largest` down to `width`. Self-attention follows the block whose
    map height is nearest to `attention_at`. `hierarchical` splits the vectors into chunks, for the first layer and for
    the normalizations of each block (BigGAN, https://arxiv.org/abs/1809.11096, appendix B).
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        normalization: Normalization,
        attention_at: PositiveInt | None,
        hierarchical: bool,
        init: Init,
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes), largest)[::-1]
        self.start = (channels[0], *sizes[0])
        if len(sizes) == 1:  # too small to halve: one block of the same size
            sizes, channels = sizes * 2, channels * 2
        levels = len(sizes) - 1
        # Chunks of (almost) equal size.
        self.chunks = [(in_dim + levels - i) // (levels + 1) for i in range(levels + 1)] if hierarchical else [in_dim]
        conditions = [condition_dim + chunk for chunk in self.chunks[1:]] or [condition_dim] * levels
        self.stem = nn.Linear(self.chunks[0], channels[0] * sizes[0][0] * sizes[0][1])
        self.blocks = nn.ModuleList(
            UpBlock(channels[i], channels[i + 1], sizes[i + 1], normalization, conditions[i]) for i in range(levels)
        )
        self.attention = attention_layers(attention_at, [size[0] for size in sizes[1:]], channels[1:])
        norm = normalization_layer(normalization, channels[-1])
        self.out = nn.Sequential(norm, nn.ReLU(), nn.Conv2d(channels[-1], out_channels, 3, padding=1))
        initialize(self, init)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        first, *chunks = vectors.split(self.chunks, dim=1)
        if chunks and condition is not None:
            chunks = [torch.cat([chunk, condition], dim=1) for chunk in chunks]
        conditions = chunks or [condition] * len(self.blocks)
        maps = self.stem(first).unflatten(1, self.start)
        for block, attention, block_condition in zip(self.blocks, self.attention, conditions, strict=True):
            maps = attention(block(maps, block_condition))
        return self.out(maps)


class GANResNetDiscriminator(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`, without normalization.

    Channels are doubled from `width` in each block. The first `halvings` blocks at most halve the map, `extra_blocks`
    keep its size. The last one has `largest` channels, pooled over the map to features. A linear layer follows unless
    `out_dim` is their number, as for a projection on labels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        halvings: NonNegativeInt | None,
        extra_blocks: NonNegativeInt,
        attention_at: PositiveInt | None,
        pooling: Literal["sum", "mean"],
        init: Init,
    ):
        super().__init__()
        heights = [size[0] for size in pyramid(*image_shape[1:])]
        halved = len(heights[1:][:halvings])
        blocks = max(1, halved + extra_blocks)
        heights = [heights[min(level + 1, halved)] for level in range(blocks)]
        channels = [*widths(width, blocks - 1, largest), largest]
        in_channels = [image_shape[0] + condition_dim, *channels]
        self.blocks = nn.ModuleList(
            DownBlock(before, after, down=i < halved, first=i == 0)
            for i, (before, after) in enumerate(zip(in_channels, channels, strict=False))
        )
        self.attention = attention_layers(attention_at, heights, channels)
        self.pool = {"sum": torch.sum, "mean": torch.mean}[pooling]
        self.head = nn.Identity() if out_dim == largest else nn.Linear(largest, out_dim)
        initialize(self, init)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = with_condition(images, condition)
        for block, attention in zip(self.blocks, self.attention, strict=True):
            maps = attention(block(maps))
        return self.head(self.pool(F.relu(maps), dim=(2, 3)))


def attention_layers(height: int | None, heights: list[int], channels: list[int]) -> nn.ModuleList:
    """A layer for each level: self-attention where the map height is nearest to `height`, else the identity."""
    chosen = None if height is None else min(range(len(heights)), key=lambda level: abs(heights[level] - height))
    return nn.ModuleList(SelfAttention(n) if level == chosen else nn.Identity() for level, n in enumerate(channels))


def initialize(network: nn.Module, init: Init) -> None:
    """Orthogonal weights as in BigGAN, or Xavier's, with a gain of sqrt(2) for 3x3 convolutions, next to ReLUs."""
    for module in network.modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        if init == "orthogonal":
            nn.init.orthogonal_(module.weight)
        else:
            nn.init.xavier_uniform_(module.weight, gain=2**0.5 if module.weight.shape[-1] == 3 else 1.0)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
