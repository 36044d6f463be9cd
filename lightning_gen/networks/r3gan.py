"""R3GAN's networks, https://arxiv.org/abs/2501.05441, section 4: ResNeXt blocks without normalization."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.grouped_conv import GroupedConv2d
from lightning_gen.networks.layers import pyramid, widths, with_condition

SLOPE = 0.2


class R3GANGenerator(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, with no output activation.

    A learned basis of the smallest size, scaled channel by channel by the vector, then `depth` blocks a level.
    Channels halve from `largest` at most down to `width` as the map doubles. Blocks widen them by `expansion` for a
    convolution in groups of `group_width` channels.
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
        self.changes = changes_of(channels)
        self.levels = residual_levels(channels, depth, expansion, group_width)
        self.out = nn.Conv2d(channels[-1], out_channels, 1)
        keep_variance(self.modulation, self.out, *self.changes)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        scales = self.modulation(with_condition(vectors, condition))  # (B, C)
        maps = self.levels[0](self.basis * scales[:, :, None, None])
        for level, change, size in zip(self.levels[1:], self.changes, self.sizes[1:], strict=True):
            # Linear maps of channels and of pixels commute: first that which leaves less to do.
            maps = level(F.interpolate(change(maps), size=size, mode="bilinear"))
        return self.out(maps)


class R3GANDiscriminator(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`: the generator mirrored."""

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
        self.stem = nn.Conv2d(in_channels + condition_dim, channels[0], 1)
        self.levels = residual_levels(channels, depth, expansion, group_width)
        self.changes = changes_of(channels)
        pixels = self.sizes[-1][0] * self.sizes[-1][1]
        self.basis = nn.Parameter(torch.randn(channels[-1], *self.sizes[-1]) / pixels**0.5)
        self.head = nn.Linear(channels[-1], out_dim)
        keep_variance(self.stem, self.head, *self.changes)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.levels[0](self.stem(with_condition(images, condition)))
        for level, change, size in zip(self.levels[1:], self.changes, self.sizes[1:], strict=True):
            maps = level(change(F.interpolate(maps, size=size, mode="bilinear", antialias=True)))
        return self.head((maps * self.basis).sum((2, 3)))  # a depthwise convolution over the whole map


class ResidualBlock(nn.Module):
    """A grouped 3x3 convolution between two 1x1 ones, around a skip connection; `(B, C, H, W)` keep their shape."""

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
        hidden = F.leaky_relu(self.mix(hidden) + self.bias, SLOPE)
        return maps + self.narrow(hidden)

    def start(self, blocks: int) -> None:
        """Initial weights of one of `blocks`, for which depth needs no normalization (https://arxiv.org/abs/1901.09321)."""
        for layer in (self.widen, self.mix):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            with torch.no_grad():
                layer.weight *= blocks**-0.25  # L^(-1 / (2m - 2)) for branches of m = 3 layers
        nn.init.zeros_(self.widen.bias)
        nn.init.zeros_(self.narrow.weight)


def residual_levels(channels: list[int], depth: int, expansion: int, group_width: int) -> nn.ModuleList:
    """`depth` blocks for each entry of `channels`."""
    levels = nn.ModuleList(
        nn.Sequential(*(ResidualBlock(each, expansion, group_width) for _ in range(depth))) for each in channels
    )
    for level in levels:
        for block in level:
            block.start(depth * len(channels))
    return levels


def changes_of(channels: list[int]) -> nn.ModuleList:
    """Between levels a linear map of the channels, where their number changes."""
    return nn.ModuleList(nn.Identity() if a == b else nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(channels))


def keep_variance(*layers: nn.Module) -> None:
    """Initial weights of linear layers whose outputs have the variance of their inputs."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
