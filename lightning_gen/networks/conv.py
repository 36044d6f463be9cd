"""Plain convolutional encoder and decoder: strided convolutions down, transposed ones up (after DCGAN, 1511.06434)."""

from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
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
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        channels, height, image_width = image_shape
        channels += condition_dim
        sizes = pyramid(height, image_width)
        layers: list[nn.Module] = []
        for out_channels in widths(width, len(sizes) - 1, largest):
            layers.append(nn.Conv2d(channels, out_channels, 3, stride=2, padding=1))
            layers += convolutions(out_channels, depth - 1, activation, normalization)
            channels = out_channels
        features = channels * sizes[-1][0] * sizes[-1][1]
        head: list[nn.Module] = [nn.Flatten()]
        if hidden:
            head += [nn.Linear(features, hidden), activation_layer(activation)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(*head, nn.Linear(hidden or features, out_dim))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        images = with_condition(images, condition)
        return self.head(self.body(images))


class ConvDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation; mirrors the encoder."""

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
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        in_dim += condition_dim
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes) - 1, largest)[::-1] or [width]
        self.start = (channels[0], *sizes[0])
        stem: list[nn.Module] = [nn.Linear(in_dim, hidden), activation_layer(activation)] if hidden else []
        features = channels[0] * sizes[0][0] * sizes[0][1]
        self.stem = nn.Sequential(*stem, nn.Linear(hidden or in_dim, features), activation_layer(activation))
        self.levels = nn.ModuleList(
            nn.Sequential(
                Upsample(channels[i], channels[i + 1], sizes[i + 1]),
                *convolutions(channels[i + 1], depth - 1, activation, normalization),
            )
            for i in range(len(channels) - 1)
        )
        # Images too small to halve have a plain convolution.
        last = channels[-1]
        self.out = Upsample(last, out_channels, sizes[-1]) if len(sizes) > 1 else nn.Conv2d(last, out_channels, 3, 1, 1)

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        vectors = with_condition(vectors, condition)
        maps = self.stem(vectors).unflatten(1, self.start)
        for level in self.levels:
            maps = level(maps)
        return self.out(maps)


class Upsample(nn.ConvTranspose2d):
    """A transposed convolution of stride 2: maps to `size`, twice their size or one pixel less."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]):
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1)
        self.size = size

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        # Twice a size that was rounded up is one pixel too many.
        return super().forward(input, output_size)[..., : self.size[0], : self.size[1]]


def convolutions(channels: int, n: int, activation: Activation, normalization: Normalization) -> list[nn.Module]:
    """Normalization and activation of the layer before, then `n` convolutions, each with both."""
    layers: list[nn.Module] = [normalization_layer(normalization, channels), activation_layer(activation)]
    for _ in range(n):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1),
            normalization_layer(normalization, channels),
            activation_layer(activation),
        ]
    return layers
