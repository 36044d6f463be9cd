"""minGRU and minLSTM over the raster of an image, https://arxiv.org/abs/2410.01201: gates depend on the input alone.

Training processes all pixels in one scan; in sampling the memory of a layer is one vector.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.linear_recurrence import linear_recurrence
from lightning_gen.networks.pixel_network import CausalStem, PixelNetwork, PixelState


class MinGRU(nn.Module):
    """Inputs `(..., F)` to the decay and the input of the recurrence, `(..., h)` each: section 3.1.

    h_t = (1 - z_t) h_{t-1} + z_t c_t, where z_t = sigmoid(gate).
    """

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.linear = nn.Linear(features, 2 * hidden)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        gate, content = self.linear(inputs).chunk(2, -1)
        update = gate.sigmoid()
        return 1 - update, update * content


class MinLSTM(nn.Module):
    """The same with forget and input gates normalized to sum to one: section 3.2."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.linear = nn.Linear(features, 3 * hidden)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        forget, input_, content = self.linear(inputs).chunk(3, -1)
        # f / (f + i) = sigmoid(log f - log i), without a division by zero
        decay = (F.logsigmoid(forget) - F.logsigmoid(input_)).sigmoid()
        return decay, (1 - decay) * content


CELLS = {"min_gru": MinGRU, "min_lstm": MinLSTM}


class MinLayer(nn.Module):
    """A recurrence and an MLP, both pre-normalized and residual, as in the paper's appendix C."""

    def __init__(self, cell: str, features: int, hidden: int):
        super().__init__()
        self.before = nn.LayerNorm(features)
        self.cell = CELLS[cell](features, hidden)
        self.out = nn.Linear(hidden, features)
        self.mixer = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """All steps `(T, B, F)`."""
        return self.output(inputs, linear_recurrence(*self.cell(self.before(inputs))))

    def output(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Both residual connections, given the hidden values of the recurrence."""
        inputs = inputs + self.out(hidden)
        return inputs + self.mixer(inputs)

    def step(self, memory: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs `(B, F)` of one step."""
        decay, increment = self.cell(self.before(inputs))
        memory["hidden"] = increment + decay * memory["hidden"] if memory else increment
        return self.output(inputs, memory["hidden"])


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
        self.layers = LayerList(MinLayer(cell, width, hidden) for _ in range(depth))

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
