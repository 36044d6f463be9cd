"""Plain convolutional encoder and decoder: strided convolutions down, transposed ones up (after DCGAN, 1511.06434)."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.image_conv import ImageConv2d, through
from lightning_gen.networks.layers import (
    Activation,
    Normalization,
    activation_layer,
    normalization_layer,
    pyramid,
    widths,
    with_condition,
)


class ConvEncoder(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`.

    Each level halves the map and doubles the channels, from `width` to at most `largest`; `depth` - 1 further
    convolutions keep the size. `hidden`, if above 0, is the width of a hidden layer before the output.

    With `patch` above 1 the first level is one convolution that divides the size by `patch`. On a CPU it costs a
    fraction of several halvings at few channels. `gated` makes further convolutions residual, with gated linear units
    (https://arxiv.org/abs/1612.08083) in place of `activation`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 512,
        hidden: NonNegativeInt = 0,
        patch: PositiveInt = 1,
        gated: bool = False,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        channels, height, image_width = image_shape
        channels += condition_dim
        sizes = map_sizes(height, image_width, patch)
        layers: list[nn.Module] = []
        for out_channels in widths(width, len(sizes) - 1, largest):
            if patch > 1 and not layers:
                layers.append(Patches(channels, out_channels, patch))
            else:
                layers.append(ImageConv2d(channels, out_channels, 3, stride=2, padding=1))
            layers += convolutions(out_channels, depth - 1, activation, normalization, gated)
            channels = out_channels
        features = channels * sizes[-1][0] * sizes[-1][1]
        head: list[nn.Module] = [nn.Flatten()]
        if hidden:
            head += [nn.Linear(features, hidden), activation_layer(activation)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(*head, nn.Linear(hidden or features, out_dim))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(through(self.body, images, condition))


class ConvDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation; mirrors the encoder.

    With `patch` above 1 the last layer is a convolution of the map that is smaller by `patch`, of whose channels each
    pixel makes a square of pixels (sub-pixel convolution, https://arxiv.org/abs/1609.05158).
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 512,
        hidden: NonNegativeInt = 0,
        patch: PositiveInt = 1,
        gated: bool = False,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        in_dim += condition_dim
        sizes = map_sizes(height, image_width, patch)[::-1]
        channels = widths(width, len(sizes) - 1, largest)[::-1] or [width]
        self.start = (channels[0], *sizes[0])
        stem: list[nn.Module] = [nn.Linear(in_dim, hidden), activation_layer(activation)] if hidden else []
        features = channels[0] * sizes[0][0] * sizes[0][1]
        self.stem = nn.Sequential(*stem, nn.Linear(hidden or in_dim, features), activation_layer(activation))
        self.levels = nn.ModuleList(
            nn.Sequential(
                Upsample(channels[i], channels[i + 1], sizes[i + 1]),
                *convolutions(channels[i + 1], depth - 1, activation, normalization, gated),
            )
            for i in range(len(channels) - 1)
        )
        if patch > 1:  # the smallest map may be the only one
            smallest = convolutions(channels[0], depth - 1, activation, normalization, gated)[2:]
            self.levels.insert(0, nn.Sequential(*smallest))
        self.out = last_layer(channels[-1], out_channels, sizes, patch)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        vectors = with_condition(vectors, condition)
        maps = self.stem(vectors).unflatten(1, self.start)
        for level in self.levels:
            maps = level(maps)
        return self.out(maps)


def last_layer(channels: int, out_channels: int, sizes: list[tuple[int, int]], patch: int) -> nn.Module:
    """From a decoder's largest map to an image of the last of `sizes`."""
    if patch > 1:
        return SubPixels(channels, out_channels, patch, sizes[-1])
    if len(sizes) > 1:
        return Upsample(channels, out_channels, sizes[-1])
    return nn.Conv2d(channels, out_channels, 3, 1, 1)  # images too small to halve


class Patches(ImageConv2d):
    """A convolution of overlapping patches: maps to their size divided by `patch`, rounded up."""

    def __init__(self, in_channels: int, out_channels: int, patch: int):
        overlap = patch // 2  # on each side
        super().__init__(in_channels, out_channels, patch + 2 * overlap, stride=patch, padding=overlap)

    def padded(self, images: Tensor) -> Tensor:
        below, right = (-size % self.stride[0] for size in images.shape[-2:])
        return F.pad(images, (0, right, 0, below)) if below or right else images


class SubPixels(nn.Conv2d):
    """A convolution whose channels are the pixels of `patch` x `patch` squares: maps to `size`."""

    def __init__(self, in_channels: int, out_channels: int, patch: int, size: tuple[int, int]):
        super().__init__(in_channels, out_channels * patch**2, 3, padding=1)
        self.patch = patch
        self.size = size

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(input), self.patch)[..., : self.size[0], : self.size[1]]


class Upsample(nn.ConvTranspose2d):
    """A transposed convolution of stride 2: maps to `size`, twice their size or one pixel less."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)
        self.size = size

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        # Twice a size that was rounded up is one pixel too many.
        return super().forward(input, output_size)[..., : self.size[0], : self.size[1]]


def map_sizes(height: int, width: int, patch: int) -> list[tuple[int, int]]:
    """Sizes of maps from the image down: divided by `patch`, if that is above 1, then halved."""
    smaller = pyramid(-(-height // patch), -(-width // patch))
    return smaller if patch == 1 else [(height, width), *smaller]


def convolutions(
    channels: int, n: int, activation: Activation, normalization: Normalization, gated: bool
) -> list[nn.Module]:
    """Normalization and activation of the layer before, then `n` convolutions, each with both, or gated."""

    def both() -> list[nn.Module]:
        return [normalization_layer(normalization, channels), activation_layer(activation)]

    layers = both()
    for _ in range(n):
        layers += [Gated(channels, normalization)] if gated else [nn.Conv2d(channels, channels, 3, padding=1), *both()]
    return layers


class Gated(nn.Module):
    """A residual convolution with gated linear units, maps `(B, C, H, W)` to the same shape."""

    def __init__(self, channels: int, normalization: Normalization = "none", kernel: int = 3):
        super().__init__()
        self.normalization = normalization_layer(normalization, channels)
        self.convolution = nn.Conv2d(channels, 2 * channels, kernel, padding=kernel // 2)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + F.glu(self.convolution(self.normalization(maps)), dim=1)
