"""Causal transformer over the raster of an image: https://arxiv.org/abs/1706.03762, of images 1802.05751.

Layers are pre-normalized, https://arxiv.org/abs/2002.04745. In sampling each keeps the keys and values of earlier
pixels, so that a pixel costs one query.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.pixel_network import CausalStem, PixelNetwork, PixelState


class TransformerLayer(nn.Module):
    """Self-attention of `heads` heads and an MLP of four times the width, both pre-normalized and residual."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), self.dropout
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """All pixels `(B, T, F)`, each attending to itself and those before."""
        query, key, value = self._heads(inputs)
        return self._output(inputs, F.scaled_dot_product_attention(query, key, value, is_causal=True))

    def step(self, memory: dict[str, Tensor], inputs: Tensor, number: int) -> Tensor:
        """Outputs `(B, F)` of pixel `number`, whose key and value join those in memory."""
        query, key, value = self._heads(inputs[:, None])
        memory["keys"][:, :, number], memory["values"][:, :, number] = key[:, :, 0], value[:, :, 0]
        past = slice(0, number + 1)
        attended = F.scaled_dot_product_attention(query, memory["keys"][:, :, past], memory["values"][:, :, past])
        return self._output(inputs[:, None], attended)[:, 0]

    def start(self, inputs: Tensor, pixels: int) -> dict[str, Tensor]:
        """Memory for that many pixels, of inputs like `(B, F)`."""
        blank = inputs.new_zeros(len(inputs), self.heads, pixels, inputs.shape[1] // self.heads)
        return {"keys": blank, "values": blank.clone()}

    def _heads(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value, `(B, heads, T, F / heads)` each."""
        return self.project(self.before(inputs)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _output(self, inputs: Tensor, attended: Tensor) -> Tensor:
        inputs = inputs + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return inputs + self.mlp(inputs)


class PixelTransformer(PixelNetwork):
    """A causal convolution with learned positions added, `depth` layers, and a last normalization."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        context_channels: NonNegativeInt = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt,
        heads: PositiveInt,
        dropout: UnitInterval = 0.0,
    ):
        super().__init__()
        if width % heads:
            raise UserError(f"model.network.heads={heads}: does not divide width={width}; give a divisor of it")
        self.out_dim = width
        self.stem = CausalStem(image_shape, width, condition_dim, context_channels)
        self.row = nn.Parameter(0.02 * torch.randn(image_shape[1], 1, width))
        self.column = nn.Parameter(0.02 * torch.randn(image_shape[2], width))
        self.layers = LayerList(TransformerLayer(width, heads, dropout) for _ in range(depth))
        self.after = nn.LayerNorm(width)

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        maps = self.stem(images, condition, context) + self.row + self.column  # (B, H, W, F)
        raster = maps.flatten(1, 2)
        for layer in self.layers:
            raster = layer(raster)
        return self.after(raster).view_as(maps)

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> PixelState:
        like = self.row.new_empty(n, self.out_dim)
        layers = [layer.start(like, self.stem.height * self.stem.width) for layer in self.layers]
        return self.stem.start(n, condition, context, layers)

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        features = self.stem.step(state, row, column) + self.row[row, 0] + self.column[column]
        for layer, memory in zip(self.layers, state.layers, strict=True):
            features = layer.step(memory, features, row * self.stem.width + column)
        return self.after(features)
