"""R3GAN's networks, https://arxiv.org/abs/2501.05441, section 4: ResNeXt blocks without normalization."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.bilinear_resize import BilinearResize
from lightning_gen.networks.grouped_conv import GroupedConv2d
from lightning_gen.networks.image_conv import ImageConv2d
from lightning_gen.networks.layers import pyramid, widths, with_condition

SLOPE = 0.2


class R3GANGenerator(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, with no output activation.

    A learned basis of the smallest size, scaled by the vector per channel, then `depth` blocks per level. Channels are
    halved at each level, from at most `largest` down to `width`. Blocks widen them by a factor of `expansion` for a
    convolution with groups of `group_width` channels.
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        depth: PositiveInt,
        expansion: PositiveInt,
        group_width: PositiveInt,
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        self.sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(self.sizes), largest)[::-1]
        self.basis = nn.Parameter(torch.randn(channels[0], *self.sizes[0]))
        self.modulation = nn.Linear(in_dim + condition_dim, channels[0], bias=False)
        self.changes = channel_changes(channels)
        self.levels = residual_levels(channels, depth, expansion, group_width)
        self.doublings = nn.ModuleList(map(BilinearResize, self.sizes, self.sizes[1:]))
        self.out = nn.Conv2d(channels[-1], out_channels, 1)
        keep_variance(self.modulation, self.out, *self.changes)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        scales = self.modulation(with_condition(vectors, condition))  # (B, C)
        maps = self.levels[0](self.basis.to(scales.dtype) * scales[:, :, None, None])
        for level, change, double in zip(self.levels[1:], self.changes, self.doublings, strict=True):
            maps = level(double(change(maps)))  # linear maps of channels and of pixels commute; this order is cheaper
        return self.out(maps)


class R3GANDiscriminator(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`; mirrors the generator."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        depth: PositiveInt,
        expansion: PositiveInt,
        group_width: PositiveInt,
    ):
        super().__init__()
        in_channels, height, image_width = image_shape
        self.sizes = pyramid(height, image_width)
        channels = widths(width, len(self.sizes), largest)
        self.stem = ImageConv2d(in_channels + condition_dim, channels[0], 1)
        self.levels = residual_levels(channels, depth, expansion, group_width)
        self.changes = channel_changes(channels)
        self.halvings = nn.ModuleList(map(BilinearResize, self.sizes, self.sizes[1:]))
        pixels = self.sizes[-1][0] * self.sizes[-1][1]
        self.basis = nn.Parameter(torch.randn(channels[-1], *self.sizes[-1]) / pixels**0.5)
        self.head = nn.Linear(channels[-1], out_dim)
        keep_variance(self.stem, self.head, *self.changes)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.levels[0](self.stem(images, condition))
        for level, change, halve in zip(self.levels[1:], self.changes, self.halvings, strict=True):
            maps = level(change(halve(maps)))
        return self.head((maps * self.basis).sum((2, 3)))  # a depthwise convolution over the whole map


class ResidualBlock(nn.Module):
    """ResNeXt bottleneck of maps `(B, C, H, W)`: a grouped 3x3 convolution between 1x1 convolutions."""

    def __init__(self, channels: int, expansion: int, group_width: int):
        super().__init__()
        hidden = channels * expansion
        if hidden % group_width:
            raise UserError(f"group_width={group_width}: must divide width * expansion, {hidden}; change one of them")
        self.widen = nn.Conv2d(channels, hidden, 1)
        self.mix = GroupedConv2d(hidden, 3, groups=hidden // group_width)
        self.bias = nn.Parameter(torch.zeros(hidden, 1, 1))
        self.narrow = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.widen(maps), SLOPE)
        hidden = F.leaky_relu(self.mix(hidden) + self.bias.to(hidden.dtype), SLOPE)
        return maps + self.narrow(hidden)

    @torch.no_grad()
    def init_weights(self, num_blocks: int) -> None:
        """Fixup initialization in a network of `num_blocks`, https://arxiv.org/abs/1901.09321, section 3."""
        for layer in (self.widen, self.mix):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            layer.weight *= num_blocks**-0.25  # L^(-1 / (2m - 2)) for branches of m = 3 layers
        if self.widen.bias is not None:
            nn.init.zeros_(self.widen.bias)
        nn.init.zeros_(self.narrow.weight)


def residual_levels(channels: list[int], depth: int, expansion: int, group_width: int) -> nn.ModuleList:
    """`depth` blocks for each entry of `channels`."""
    levels = [[ResidualBlock(width, expansion, group_width) for _ in range(depth)] for width in channels]
    for blocks in levels:
        for block in blocks:
            block.init_weights(depth * len(channels))
    return nn.ModuleList(nn.Sequential(*blocks) for blocks in levels)


def channel_changes(channels: list[int]) -> nn.ModuleList:
    """1x1 convolutions between levels of different numbers of channels, identities between others."""
    return nn.ModuleList(nn.Identity() if a == b else nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(channels))


def keep_variance(*layers: nn.Module) -> None:
    """Initialize linear layers so that outputs have the variance of inputs."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
