"""Convolutional encoder whose maps its decoder is given too, as in https://arxiv.org/abs/1802.07687, section 4.

Both are DCGAN's, as there for digits: nothing is computed at the full size but the first and the last layer.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gen.networks.conv import Upsample
from lightning_gen.networks.dcgan import Halve
from lightning_gen.networks.layers import Normalization, activation_layer, normalization_layer, pyramid, widths


class SkipEncoder(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)` in [-1, 1] and maps, from half the size down.

    Channels double with every halving, from `width` to at most `largest`. An image too small to be halved has one map,
    of its own size.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        *,
        width: int,
        largest: int,
        normalization: Normalization,
    ):
        super().__init__()
        channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)
        each = [channels, *(widths(width, len(sizes) - 1, largest) or [width])]
        convs = [Halve(before, after) for before, after in pairwise(each)]
        if len(sizes) == 1:
            convs = [nn.Conv2d(channels, width, 3, padding=1)]
        self.levels = nn.ModuleList(
            nn.Sequential(conv, normalization_layer(normalization, conv.out_channels), activation_layer("leaky_relu"))
            for conv in convs
        )
        self.head = nn.Linear(each[-1] * sizes[-1][0] * sizes[-1][1], out_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [images]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return self.head(maps[-1].flatten(1)).tanh(), maps[1:]


class SkipDecoder(nn.Module):
    """Vectors `(B, in_dim)` and maps of an encoder made alike to maps of `image_shape`, no output activation."""

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        *,
        width: int,
        largest: int,
        normalization: Normalization,
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        each = widths(width, len(sizes) - 1, largest)[::-1] or [width]
        self.start = (each[0], *sizes[0])
        self.stem = nn.Sequential(
            nn.Linear(in_dim, each[0] * sizes[0][0] * sizes[0][1]), activation_layer("leaky_relu")
        )
        self.levels = nn.ModuleList(
            nn.Sequential(
                Upsample(2 * before, after, size),
                normalization_layer(normalization, after),
                activation_layer("leaky_relu"),
            )
            for before, after, size in zip(each, each[1:], sizes[1:], strict=False)
        )
        last = 2 * each[-1]
        self.out = Upsample(last, out_channels, sizes[-1]) if len(sizes) > 1 else nn.Conv2d(last, out_channels, 3, 1, 1)

    def forward(self, vectors: Tensor, skips: list[Tensor]) -> Tensor:
        maps = self.stem(vectors).unflatten(1, self.start)
        for level, skip in zip((*self.levels, self.out), reversed(skips), strict=True):
            maps = level(torch.cat([maps, skip], dim=1))
        return maps
