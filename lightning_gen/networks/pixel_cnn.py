"""Gated PixelCNN, https://arxiv.org/abs/1606.05328: two stacks, no blind spot, no recurrence."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.pixel_network import CausalStem, PixelNetwork, PixelState


def gated(maps: Tensor, dim: int) -> Tensor:
    """Gated activation tanh(a) * sigmoid(b) of the halves a and b: eq. 2."""
    value, gate = maps.chunk(2, dim)
    return value.tanh() * gate.sigmoid()


class GatedLayer(nn.Module):
    """The vertical stack, over all rows above, and the horizontal stack, over earlier pixels of the row: figure 2.

    Maps of both are `(B, F, H, W)`; kernels are `size` pixels wide, and causal.
    """

    def __init__(self, features: int, size: int):
        super().__init__()
        self.rows, self.reach = size // 2, size // 2
        self.vertical = nn.Conv2d(features, 2 * features, (self.rows + 1, size))
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.horizontal = nn.Conv2d(features, 2 * features, (1, self.reach + 1))
        self.out = nn.Conv2d(features, features, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        from_above = self.vertical(F.pad(vertical, (self.reach, self.reach, self.rows, 0)))
        from_left = self.horizontal(F.pad(horizontal, (self.reach, 0, 0, 0)))
        hidden = gated(from_left + self.link(from_above), 1)
        return gated(from_above, 1), horizontal + self.out(hidden)

    def start(self, n: int, features: int, width: int, like: Tensor) -> dict[str, Tensor]:
        """Memory before the first pixel: zeros above and to the left."""
        return {
            "rows": like.new_zeros(n, features, self.rows + 1, width + 2 * self.reach),
            "left": like.new_zeros(n, features, self.reach + 1),
        }

    def step_row(self, memory: dict[str, Tensor], vertical: Tensor) -> Tensor:
        """Next vertical maps of a row `(B, F, 1, W)`; stores their link to the horizontal stack, `(B, 2 F, 1, W)`."""
        padded = F.pad(vertical, (self.reach, self.reach))
        memory["rows"] = torch.cat([memory["rows"][:, :, 1:], padded], 2)
        from_above = self.vertical(memory["rows"])
        memory["link"] = self.link(from_above)
        memory["left"] = torch.zeros_like(memory["left"])
        return gated(from_above, 1)

    def step(self, memory: dict[str, Tensor], horizontal: Tensor, column: int) -> Tensor:
        """Next horizontal features of a pixel, `(B, F)`."""
        memory["left"] = torch.cat([memory["left"][:, :, 1:], horizontal[:, :, None]], 2)
        from_left = F.linear(memory["left"].flatten(1), self.horizontal.weight.flatten(1), self.horizontal.bias)
        hidden = gated(from_left + memory["link"][:, :, 0, column], 1)
        return horizontal + F.linear(hidden, self.out.weight.flatten(1), self.out.bias)


class PixelCNN(PixelNetwork):
    """A causal convolution for the horizontal stack, one over the rows above for the vertical, `depth` gated layers."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        context_channels: NonNegativeInt = 0,
        *,
        width: PositiveInt,
        depth: PositiveInt,
        size: PositiveInt = 5,
    ):
        super().__init__()
        if size % 2 == 0:
            raise UserError(f"model.network.size={size}: give an odd number, 3 or more to see earlier pixels")
        self.out_dim = width
        self.above = nn.Conv2d(image_shape[0], width, (3, 7))
        self.stem = CausalStem(image_shape, width, condition_dim, context_channels)
        self.layers = LayerList(GatedLayer(width, size) for _ in range(depth))

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        vertical = self.above(F.pad(images, (3, 3, 3, 0))[:, :, :-1])
        horizontal = self.stem(images, condition, context).permute(0, 3, 1, 2)
        if (given := self.stem.given(condition, context)) is not None:
            vertical = vertical + given.permute(0, 3, 1, 2)
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        return horizontal.permute(0, 2, 3, 1)

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> PixelState:
        like = self.above.weight
        layers = [layer.start(n, self.out_dim, self.stem.width, like) for layer in self.layers]
        return self.stem.start(n, condition, context, layers)

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        if column == 0:
            vertical = self.above(state.padded[:, :, row : row + 3])
            if state.given is not None:
                vertical = vertical + state.given[:, row : row + 1].permute(0, 3, 1, 2)
            for layer, memory in zip(self.layers, state.layers, strict=True):
                vertical = layer.step_row(memory, vertical)
        horizontal = self.stem.step(state, row, column)
        for layer, memory in zip(self.layers, state.layers, strict=True):
            horizontal = layer.step(memory, horizontal, column)
        return horizontal
