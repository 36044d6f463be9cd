"""DCGAN's networks, https://arxiv.org/abs/1511.06434, section 3: 4x4 convolutions of stride 2, no pooling."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.conv import Upsample
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


class DCGANGenerator(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation.

    Channels are halved at each level, from at most `largest` down to `width`.
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt = 512,
        activation: Activation = "relu",
        normalization: Normalization = "batch",
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes) - 1, largest)[::-1] or [width]
        self.start = (channels[0], *sizes[0])
        self.stem = nn.Linear(in_dim + condition_dim, channels[0] * sizes[0][0] * sizes[0][1])
        layers: list[nn.Module] = []
        for before, after, size in zip(channels, [*channels[1:], None], [*sizes[1:], sizes[0]], strict=False):
            layers += [normalization_layer(normalization, before), activation_layer(activation)]
            if after is None:
                break
            layers.append(Upsample(before, after, size))
        last = channels[-1]
        out = Upsample(last, out_channels, sizes[-1]) if len(sizes) > 1 else nn.Conv2d(last, out_channels, 3, 1, 1)
        self.body = nn.Sequential(*layers, out)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.body(self.stem(with_condition(vectors, condition)).unflatten(1, self.start))


class DCGANDiscriminator(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`; no normalization in the first layer."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt = 512,
        activation: Activation = "leaky_relu",
        normalization: Normalization = "batch",
    ):
        super().__init__()
        channels, height, image_width = image_shape
        channels += condition_dim
        sizes = pyramid(height, image_width)
        layers: list[nn.Module] = []
        for level, out_channels in enumerate(widths(width, len(sizes) - 1, largest)):
            layers.append(Halve(channels, out_channels))
            if level:
                layers.append(normalization_layer(normalization, out_channels))
            layers.append(activation_layer(activation))
            channels = out_channels
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels * sizes[-1][0] * sizes[-1][1], out_dim)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(through(self.body, images, condition).flatten(1))


class Halve(ImageConv2d):
    """A 4x4 convolution of stride 2: maps to half their size, rounded up."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)

    def padded(self, images: Tensor) -> Tensor:
        odd = images.shape[2] % 2, images.shape[3] % 2
        return F.pad(images, (0, odd[1], 0, odd[0])) if any(odd) else images
