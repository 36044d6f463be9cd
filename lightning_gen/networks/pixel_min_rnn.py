"""minGRU and minLSTM over the raster of an image, https://arxiv.org/abs/2410.01201: gates that see only the input.

All pixels are trained in one scan; in sampling a layer remembers one vector.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.linear_recurrence import linear_recurrence
from lightning_gen.networks.pixel_network import CausalStem, PixelNetwork, PixelState


class MinGRU(nn.Module):
    """Inputs `(..., F)` to the decay and the input of the recurrence, `(..., h)` each: section 3.1."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.linear = nn.Linear(features, 2 * hidden)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        gate, content = self.linear(inputs).chunk(2, -1)
        update = gate.sigmoid()
        return 1 - update, update * content


class MinLSTM(nn.Module):
    """The same with forget and input gates that are divided by their sum: section 3.2."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.linear = nn.Linear(features, 3 * hidden)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        forget, input_, content = self.linear(inputs).chunk(3, -1)
        # f / (f + i) = sigmoid(log f - log i), which can't divide by zero
        decay = (F.logsigmoid(forget) - F.logsigmoid(input_)).sigmoid()
        return decay, (1 - decay) * content


CELLS = {"min_gru": MinGRU, "min_lstm": MinLSTM}


class MinLayer(nn.Module):
    """The recurrence and a hidden layer, each on normalized inputs and added to them, as in the paper's appendix C."""

    def __init__(self, cell: str, features: int, hidden: int):
        super().__init__()
        self.before = nn.LayerNorm(features)
        self.cell = CELLS[cell](features, hidden)
        self.out = nn.Linear(hidden, features)
        self.mixer = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """`(T, B, F)` to the same."""
        return self.closed(inputs, linear_recurrence(*self.cell(self.before(inputs))))

    def closed(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        inputs = inputs + self.out(hidden)
        return inputs + self.mixer(inputs)

    def step(self, memory: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """One step's outputs `(B, F)`."""
        decay, own = self.cell(self.before(inputs))
        memory["hidden"] = own + decay * memory["hidden"] if memory else own
        return self.closed(inputs, memory["hidden"])


class PixelMinRNN(PixelNetwork):
    """A causal convolution, then `depth` recurrences of `hidden` units along the raster."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        context_channels: NonNegativeInt = 0,
        *,
        cell: Literal["min_gru", "min_lstm"],
        width: PositiveInt,
        hidden: PositiveInt,
        depth: PositiveInt,
    ):
        super().__init__()
        self.out_dim = width
        self.stem = CausalStem(image_shape, width, condition_dim, context_channels)
        self.layers = nn.ModuleList(MinLayer(cell, width, hidden) for _ in range(depth))

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        maps = self.stem(images, condition, context)
        raster = maps.flatten(1, 2).transpose(0, 1).contiguous()  # (H W, B, F)
        for layer in self.layers:
            raster = layer(raster)
        return raster.transpose(0, 1).unflatten(1, maps.shape[1:3])

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> PixelState:
        return self.stem.start(n, condition, context, [{} for _ in self.layers])

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        features = self.stem.step(state, row, column)
        for layer, memory in zip(self.layers, state.layers, strict=True):
            features = layer.step(memory, features)
        return features
