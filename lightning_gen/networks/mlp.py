"""Fully connected encoder and decoder."""

import math

from torch import Tensor, nn

from lightning_gen.networks.layers import Activation, activation_layer


def _hidden(in_dim: int, width: int, depth: int, activation: Activation) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(in_dim, width), activation_layer(activation)]
        in_dim = width
    return layers


class MLPEncoder(nn.Module):
    """Images `(B, C, H, W)` to vectors `(B, out_dim)` through `depth` hidden layers of `width` units."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        *,
        width: int,
        depth: int = 2,
        activation: Activation = "silu",
    ):
        super().__init__()
        hidden = _hidden(math.prod(image_shape), width, depth, activation)
        self.layers = nn.Sequential(
            nn.Flatten(), *hidden, nn.Linear(width if depth else math.prod(image_shape), out_dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class MLPDecoder(nn.Module):
    """Vectors `(B, in_dim)` to maps of `image_shape`, with no output activation."""

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        *,
        width: int,
        depth: int = 2,
        activation: Activation = "silu",
    ):
        super().__init__()
        hidden = _hidden(in_dim, width, depth, activation)
        self.layers = nn.Sequential(
            *hidden, nn.Linear(width if depth else in_dim, math.prod(image_shape)), nn.Unflatten(1, image_shape)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors)
