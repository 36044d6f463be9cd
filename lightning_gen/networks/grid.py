"""Convolutional encoder and decoder of a grid of vectors, after VQ-VAE, https://arxiv.org/abs/1711.00937, 4.1."""

from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.layers import Activation, Normalization, activation_layer, normalization_layer, widths
from lightning_gen.networks.resnet import ResidualBlock


def grid_size(image_shape: tuple[int, ...], stride: int, coarser: int = 1) -> tuple[int, int]:
    """Height and width of a grid of an image, `coarser` times coarser than that of `model.stride`.

    UserError unless the stride is a power of two, and what divides both sides of the image.
    """
    height, width = image_shape[1:]
    fitting = [2**n for n in range(1, 10) if not height % (coarser * 2**n) and not width % (coarser * 2**n)]
    if stride not in fitting:
        fix = f"give one of {fitting}" if fitting else f"give data whose height and width {2 * coarser} divides"
        raise UserError(f"model.stride={stride}: images of {height}x{width} have no such grid; {fix}")
    return height // (coarser * stride), width // (coarser * stride)


def blocks(channels: int, depth: int, activation: Activation, normalization: Normalization) -> list[nn.Module]:
    """`depth` residual blocks of one width."""
    return [ResidualBlock(channels, channels, activation, normalization) for _ in range(depth)]


class GridEncoder(nn.Module):
    """Images `(B, C, H, W)` to `(B, out_channels, H / stride, W / stride)`.

    Each halving doubles the channels, from `width` to at most `largest`; `depth` residual blocks follow it.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_channels: int,
        stride: int,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 256,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        channels = image_shape[0]
        layers: list[nn.Module] = []
        for level in widths(width, stride.bit_length() - 1, largest):
            layers.append(nn.Conv2d(channels, level, 4, stride=2, padding=1))
            layers += blocks(level, depth, activation, normalization)
            channels = level
        layers += [normalization_layer(normalization, channels), activation_layer(activation)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, out_channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class GridDecoder(nn.Module):
    """Vectors `(B, in_channels, h, w)` to maps `(B, C, h stride, w stride)`; mirrors the encoder."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        width: PositiveInt,
        depth: PositiveInt = 1,
        largest: PositiveInt = 256,
        activation: Activation = "silu",
        normalization: Normalization = "none",
    ):
        super().__init__()
        levels = widths(width, stride.bit_length() - 1, largest)[::-1]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, levels[0], 3, padding=1)]
        for level, after in zip(levels, [*levels[1:], out_channels], strict=True):
            layers += blocks(level, depth, activation, normalization)
            layers += [normalization_layer(normalization, level), activation_layer(activation)]
            layers.append(nn.ConvTranspose2d(level, after, 4, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)
