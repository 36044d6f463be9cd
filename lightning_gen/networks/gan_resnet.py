"""ResNets of SNGAN, SAGAN and BigGAN, https://arxiv.org/abs/1802.05957, appendix B.4; no output activation."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.attention import SelfAttention
from lightning_gen.networks.conditional_norm import ConditionalNorm
from lightning_gen.networks.layers import Normalization, normalization_layer, pyramid, widths, with_condition

Init = Literal["xavier", "orthogonal"]


class UpBlock(nn.Module):
    """Maps `(B, C_in, ., .)` to `(B, C_out, *size)`: two convolutions, nearest upsampling before the first."""

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
        return F.interpolate(maps, size=self.size, mode="nearest")


class DownBlock(nn.Module):
    """Maps `(B, C_in, H, W)` to `C_out` channels, halved by average pooling if `down`; `first` is fed with images."""

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
    """Vectors `(B, in_dim)` to maps of `image_shape`; the blocks' normalizations see the condition.

    Channels halve, down to `width`, as the map doubles, from at most `largest`. Self-attention stands where the map's
    height is nearest to `attention_at`. `hierarchical` splits the vectors into one chunk for the first layer and one
    for each block's normalizations (BigGAN, https://arxiv.org/abs/1809.11096, appendix B).
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
        attention_at: int | None,
        hierarchical: bool,
        init: Init,
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes), largest)[::-1]
        self.start = (channels[0], *sizes[0])
        if len(sizes) == 1:  # too small to be halved: one block that keeps the size
            sizes, channels = sizes * 2, channels * 2
        levels = len(sizes) - 1
        # In parts as equal as can be.
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
        for block, attention, seen in zip(self.blocks, self.attention, conditions, strict=True):
            maps = attention(block(maps, seen))
        return self.out(maps)


class GANResNetDiscriminator(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`, without normalization.

    Blocks with `width` channels, doubled with each, halve the map, `halvings` times at most; `extra_blocks` keep its
    size. The last block has `largest` channels: the features, pooled over the map. They are what comes out where as
    many are wanted, as by a projection on labels; else a linear layer follows.
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
        attention_at: int | None,
        pooling: Literal["sum", "mean"],
        init: Init,
    ):
        super().__init__()
        heights = [size[0] for size in pyramid(*image_shape[1:])]
        halved = len(heights[1:][:halvings])
        blocks = max(1, halved + extra_blocks)
        heights = [heights[min(level + 1, halved)] for level in range(blocks)]
        channels = [*widths(width, blocks - 1, largest), largest]
        befores = [image_shape[0] + condition_dim, *channels]
        self.blocks = nn.ModuleList(
            DownBlock(before, after, down=i < halved, first=i == 0)
            for i, (before, after) in enumerate(zip(befores, channels, strict=False))
        )
        self.attention = attention_layers(attention_at, heights, channels)
        self.pooled = {"sum": torch.sum, "mean": torch.mean}[pooling]
        self.head = nn.Identity() if out_dim == largest else nn.Linear(largest, out_dim)
        initialize(self, init)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = with_condition(images, condition)
        for block, attention in zip(self.blocks, self.attention, strict=True):
            maps = attention(block(maps))
        return self.head(self.pooled(F.relu(maps), dim=(2, 3)))


def attention_layers(height: int | None, heights: list[int], channels: list[int]) -> nn.ModuleList:
    """For each level a layer: self-attention where its height is nearest to `height`, elsewhere nothing."""
    chosen = None if height is None else min(range(len(heights)), key=lambda level: abs(heights[level] - height))
    return nn.ModuleList(SelfAttention(n) if level == chosen else nn.Identity() for level, n in enumerate(channels))


def initialize(network: nn.Module, init: Init) -> None:
    """Orthogonal weights as in BigGAN, or Xavier's, which 3x3 convolutions, standing beside rectifiers, get doubled."""
    for each in network.modules():
        if not isinstance(each, nn.Linear | nn.Conv2d):
            continue
        if init == "orthogonal":
            nn.init.orthogonal_(each.weight)
        else:
            nn.init.xavier_uniform_(each.weight, gain=2**0.5 if each.weight.shape[-1] == 3 else 1.0)
        if each.bias is not None:
            nn.init.zeros_(each.bias)
