"""Codes on a grid for networks over pixels: codes in, as learned vectors, and logits of codes out.

Codes are told as values in [-1, 1], as the gray levels of pixels are.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.capabilities import CodeGrid
from lightning_gen.networks.pixel_network import PixelNetwork, PixelState, per_channel_product


def as_values(codes: Tensor, num_codes: int) -> Tensor:
    """Codes 0, ..., num_codes - 1 as equally spaced values in [-1, 1]."""
    return codes * (2 / (num_codes - 1)) - 1


def as_codes(values: Tensor, num_codes: int) -> Tensor:
    """The inverse of `as_values`."""
    return ((values + 1) / 2 * (num_codes - 1)).round().long()


class CodeEmbedding(nn.Module):
    """Values of codes `(..., depth)` to vectors `(..., depth, dim)`, of a table for each place among the codes."""

    offsets: Tensor

    def __init__(self, depth: int, num_codes: int, dim: int):
        super().__init__()
        self.num_codes = num_codes
        self.table = nn.Embedding(depth * num_codes, dim)
        self.register_buffer("offsets", torch.arange(depth) * num_codes, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return self.table(as_codes(values, self.num_codes) + self.offsets)


class CodeState(PixelState):
    """Partly sampled codes, the `images` that the caller writes into, and their `vectors`, written one step later."""

    def __init__(self, inner: PixelState, codes: Tensor):
        super().__init__(inner.padded, codes, inner.stem_weight, inner.given, inner.layers)
        self.vectors = inner.images


class CodeNetwork(PixelNetwork):
    """A network over pixels, `network(image_shape, condition_dim, context_channels)`, over vectors of `dim` values.

    The vectors of the codes of a position are added.
    """

    def __init__(
        self, network: Callable[..., PixelNetwork], grid: CodeGrid, dim: int, condition_dim: int, context_channels: int
    ):
        super().__init__()
        self.grid = grid
        self.embedding = CodeEmbedding(grid.depth, grid.num_codes, dim)
        shape = (dim, grid.height, grid.width)
        self.network = network(image_shape=shape, condition_dim=condition_dim, context_channels=context_channels)
        self.out_dim = self.network.out_dim

    def embed(self, values: Tensor) -> Tensor:
        """Vectors `(B, dim, H, W)` of values `(B, depth, H, W)`."""
        return self.embedding(values.permute(0, 2, 3, 1)).sum(3).permute(0, 3, 1, 2)

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        return self.network(self.embed(images), condition, context)

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> CodeState:
        inner = self.network.start(n, condition, context)
        return CodeState(inner, inner.images.new_zeros(n, self.grid.depth, self.grid.height, self.grid.width))

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        assert isinstance(state, CodeState)
        if row or column:
            above, left = divmod(row * self.grid.width + column - 1, self.grid.width)
            state.vectors[:, :, above, left] = self.embedding(state.images[:, :, above, left]).sum(1)
        return self.network.step(state, row, column)


class CodeHead(nn.Module):
    """Features and the earlier codes of a position to logits of each code: `PixelHead` with learned vectors."""

    def __init__(self, features: int, channels: int, parameters_per_value: int, hidden: int):
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(features, channels * hidden)
        self.earlier = CodeEmbedding(channels, parameters_per_value, hidden) if channels > 1 else None
        self.weight = nn.Parameter(torch.empty(channels, hidden, parameters_per_value))
        self.bias = nn.Parameter(torch.zeros(channels, parameters_per_value))
        bound = hidden**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Tensor, values: Tensor) -> Tensor:
        hidden = self.hidden(features.relu()).unflatten(-1, (self.channels, -1))
        if self.earlier is not None:
            vectors = self.earlier(values)[..., :-1, :].cumsum(-2)  # of all codes before
            hidden = hidden + nn.functional.pad(vectors, (0, 0, 1, 0))
        return per_channel_product(hidden.relu(), self.weight) + self.bias
