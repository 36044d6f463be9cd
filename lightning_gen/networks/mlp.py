"""Fully connected encoder and decoder."""

import math

from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveFloat, PositiveInt
from lightning_gen.networks.layers import Activation, activation_layer, with_condition


def _hidden(in_dim: int, width: int, depth: int, activation: Activation) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(in_dim, width), activation_layer(activation)]
        in_dim = width
    return layers


class MLPEncoder(nn.Module):
    """Images `(B, C, H, W)` to vectors `(B, out_dim)`, with `depth` hidden layers of `width` units.

    `input_scale` multiplies the images: fine structure is learned faster from larger inputs.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: NonNegativeInt = 2,
        activation: Activation = "silu",
        input_scale: PositiveFloat = 1.0,
    ):
        super().__init__()
        self.input_scale = input_scale
        channels, *size = image_shape
        values = (channels + condition_dim) * math.prod(size)
        hidden = _hidden(values, width, depth, activation)
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width if depth else values, out_dim))

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        images = with_condition(images, condition)
        return self.layers(images if self.input_scale == 1 else images * self.input_scale)


class MLPDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, without output activation.

    `input_scale` multiplies the vectors: steep functions are learned faster from larger inputs.
    """

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        depth: NonNegativeInt = 2,
        activation: Activation = "silu",
        input_scale: PositiveFloat = 1.0,
    ):
        super().__init__()
        self.input_scale = input_scale
        in_dim += condition_dim
        hidden = _hidden(in_dim, width, depth, activation)
        self.layers = nn.Sequential(
            *hidden, nn.Linear(width if depth else in_dim, math.prod(image_shape)), nn.Unflatten(1, image_shape)
        )

    def forward(self, vectors: Tensor, condition: Tensor | None = None) -> Tensor:
        vectors = with_condition(vectors, condition)
        return self.layers(vectors if self.input_scale == 1 else vectors * self.input_scale)
