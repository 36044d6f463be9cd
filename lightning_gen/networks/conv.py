"""Plain convolutional encoder and decoder: strided convolutions down, transposed ones up (after DCGAN, 1511.06434)."""

from torch import Tensor, nn

from lightning_gen.networks.layers import (
    Activation,
    Normalization,
    activation_layer,
    normalization_layer,
    pyramid,
    widths,
)


class ConvEncoder(nn.Module):
    """Images `(B, C, H, W)` of any size to vectors `(B, out_dim)`.

    Each level halves the map and doubles the channels, from `width` to at most `largest`; `depth` - 1 further
    convolutions keep the size. `hidden` units stand before the output if it is above 0.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        *,
        width: int,
        depth: int = 1,
        largest: int = 512,
        hidden: int = 0,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)
        layers: list[nn.Module] = []
        for out_channels in widths(width, len(sizes) - 1, largest):
            for stride in [2] + [1] * (depth - 1):
                layers += [
                    nn.Conv2d(channels, out_channels, 3, stride, padding=1),
                    normalization_layer(normalization, out_channels),
                    activation_layer(activation),
                ]
                channels = out_channels
        features = channels * sizes[-1][0] * sizes[-1][1]
        head: list[nn.Module] = [nn.Flatten()]
        if hidden:
            head += [nn.Linear(features, hidden), activation_layer(activation)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(*head, nn.Linear(hidden or features, out_dim))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


class ConvDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, `(B, C, H, W)` with no output activation: ConvEncoder mirrored."""

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        *,
        width: int,
        depth: int = 1,
        largest: int = 512,
        hidden: int = 0,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes) - 1, largest)[::-1] + [width]
        self.start = (channels[0], *sizes[0])
        stem: list[nn.Module] = [nn.Linear(in_dim, hidden), activation_layer(activation)] if hidden else []
        features = channels[0] * sizes[0][0] * sizes[0][1]
        self.stem = nn.Sequential(*stem, nn.Linear(hidden or in_dim, features), activation_layer(activation))
        self.levels = nn.ModuleList(
            Upsample(channels[i], channels[i + 1], sizes[i + 1], depth, activation, normalization)
            for i in range(len(sizes) - 1)
        )
        self.out = nn.Conv2d(channels[-1], out_channels, 3, padding=1)

    def forward(self, vectors: Tensor) -> Tensor:
        maps = self.stem(vectors).unflatten(1, self.start)
        for level in self.levels:
            maps = level(maps)
        return self.out(maps)


class Upsample(nn.Module):
    """Maps to `size`, about twice their own, by a transposed convolution; then `depth` - 1 plain ones."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        depth: int,
        activation: Activation,
        normalization: Normalization,
    ):
        super().__init__()
        self.size = size
        layers = [nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)]
        for _ in range(depth - 1):
            layers += [
                normalization_layer(normalization, out_channels),
                activation_layer(activation),
                nn.Conv2d(out_channels, out_channels, 3, padding=1),
            ]
        self.first, *rest = layers
        self.rest = nn.Sequential(*rest, normalization_layer(normalization, out_channels), activation_layer(activation))

    def forward(self, maps: Tensor) -> Tensor:
        # Twice a size that was rounded up is one too many.
        return self.rest(self.first(maps)[..., : self.size[0], : self.size[1]])
