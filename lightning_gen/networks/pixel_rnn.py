"""Row LSTM and Diagonal BiLSTM, https://arxiv.org/abs/1601.06759, section 3.

Layers map `(B, H, W, F)` to the same shape, with the residual connection of section 3.3. The input-to-state half is one
matrix product for the whole image; only the state-to-state half is in the loop.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.pixel_network import CausalStem, PixelNetwork, PixelState


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell values `(..., h)` from the pre-activations `(..., 4 h)` of the gates and the last cell: eq. 3."""
    # The gradient of `split` is one concatenation, that of `tensor_split` a sum of padded tensors.
    rates, content = gates.split((3 * cell.shape[-1], cell.shape[-1]), dim=-1)
    output, forget, input_ = rates.sigmoid().chunk(3, dim=-1)
    cell = forget * cell + input_ * content.tanh()
    return output * cell.tanh(), cell


class RasterLSTM(nn.Module):
    """Base of layers over an image `(B, H, W, F)`; `step` computes one pixel after another in raster order."""

    out: nn.Linear
    residual: bool

    def start(self, inputs: Tensor, width: int) -> dict[str, Tensor]:
        """Memory before the first pixel, for inputs like `(B, F)`."""
        raise NotImplementedError

    def step(self, state: dict[str, Tensor], inputs: Tensor, row: int, column: int) -> Tensor:
        """Outputs `(B, F)` of the next pixel."""
        raise NotImplementedError

    def output(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """The residual connection of section 3.3, if any."""
        return inputs + self.out(hidden) if self.residual else self.out(hidden)


class RowLSTM(RasterLSTM):
    """Row by row, from three hidden values of the row above and the inputs at and left of each pixel: section 3.1."""

    def __init__(self, features: int, hidden: int, residual: bool):
        super().__init__()
        self.input = nn.Linear(2 * features, 4 * hidden)
        self.recurrent = nn.Linear(3 * hidden, 4 * hidden, bias=False)
        self.out = nn.Linear(hidden, features)
        self.hidden = hidden
        self.residual = residual

    def forward(self, inputs: Tensor) -> Tensor:
        batch, _, width, _ = inputs.shape
        left = F.pad(inputs, (0, 0, 1, 0))[:, :, :-1]
        gates = self.input(torch.cat([left, inputs], -1))
        hidden = cell = inputs.new_zeros(batch, width, self.hidden)
        rows = []
        for number, row in enumerate(gates.unbind(1)):
            if number:
                row = row + self.from_above(hidden)
            hidden, cell = lstm_cell(row, cell)
            rows.append(hidden)
        return self.output(inputs, torch.stack(rows, 1))

    def from_above(self, hidden: Tensor) -> Tensor:
        """The state-to-state half `(B, W, 4 h)`, given a row's hidden values."""
        padded = F.pad(hidden, (0, 0, 1, 1))
        return self.recurrent(torch.cat([padded[:, :-2], hidden, padded[:, 2:]], -1))

    def start(self, inputs: Tensor, width: int) -> dict[str, Tensor]:
        blank = inputs.new_zeros(len(inputs), width, self.hidden)
        return {"hidden": blank, "cell": blank.clone()}

    def step(self, state: dict[str, Tensor], inputs: Tensor, row: int, column: int) -> Tensor:
        if column == 0:
            if row:
                state["above"] = self.from_above(state["hidden"])
                state["hidden"] = torch.empty_like(state["hidden"])
            state["left"] = torch.zeros_like(inputs)
        gates = self.input(torch.cat([state["left"], inputs], -1))
        if row:
            gates = gates + state["above"][:, column]
        hidden, state["cell"][:, column] = lstm_cell(gates, state["cell"][:, column])
        state["hidden"][:, column] = hidden
        state["left"] = inputs
        return self.output(inputs, hidden)


class DiagonalLSTM(RasterLSTM):
    """Diagonal by diagonal, from the hidden values above and to the left, and likewise from the right: section 3.2.

    The map from the right is shifted down by a row, so that no pixel sees later ones. Instead of skewed maps, whose
    cells outside the image would have to be masked, the loop runs over the cells of the image in diagonal order.
    """

    def __init__(self, features: int, hidden: int, residual: bool):
        super().__init__()
        self.input = nn.Linear(features, 2 * 4 * hidden)
        self.recurrent = nn.Parameter(torch.empty(2, 2 * hidden, 4 * hidden))  # by direction; above, then beside
        bound = (2 * hidden) ** -0.5
        nn.init.uniform_(self.recurrent, -bound, bound)
        self.out = nn.Linear(hidden, features)
        self.hidden = hidden
        self.residual = residual

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[1:3]
        gates = self.input(inputs).unflatten(-1, (2, -1)).permute(3, 0, 1, 2, 4)  # (2, B, H, W, 4 h)
        gates = torch.stack([gates[0], gates[1].flip(2)])
        order, sizes = diagonals(height, width, inputs.device)
        hidden = self.recur(gates.flatten(2, 3).index_select(2, order), height, width, sizes)
        rightwards, leftwards = hidden.index_select(2, order.argsort()).unflatten(2, (height, width))
        leftwards = F.pad(leftwards.flip(2), (0, 0, 0, 0, 1, 0))[:, :-1]
        return self.output(inputs, rightwards + leftwards)

    def recur(self, gates: Tensor, height: int, width: int, sizes: list[int]) -> Tensor:
        """Hidden values `(2, B, H W, h)` from pre-activations `(2, B, H W, 4 h)`, both in diagonal order."""
        batch = gates.shape[1]
        hidden = cell = gates.new_zeros(2, batch, 0, self.hidden)
        previous_top = 0  # topmost row of the previous diagonal
        diagonal_hiddens = []
        for number, diagonal in enumerate(gates.split(sizes, 2)):
            top = max(0, number - width + 1)
            start, cells = top - previous_top, diagonal.shape[2]  # where the rows of this one begin in the previous one
            if number:
                above_and_beside = torch.cat([cut(hidden, start - 1, cells), cut(hidden, start, cells)], -1)
                diagonal = diagonal + torch.einsum("dbnk,dkg->dbng", above_and_beside, self.recurrent)
            hidden, cell = lstm_cell(diagonal, cut(cell, start, cells))
            diagonal_hiddens.append(hidden)
            previous_top = top
        return torch.cat(diagonal_hiddens, 2)

    def start(self, inputs: Tensor, width: int) -> dict[str, Tensor]:
        blank = inputs.new_zeros(2, len(inputs), width, self.hidden)
        leftwards = inputs.new_empty(len(inputs), width, 4 * self.hidden)
        return {"hidden": blank, "cell": blank.clone(), "gates": leftwards}

    def step(self, state: dict[str, Tensor], inputs: Tensor, row: int, column: int) -> Tensor:
        """Outputs `(B, F)` of the next pixel; at the start of a row the previous row is processed from the right."""
        if column == 0 and row:
            self._leftwards(state)
        if column == 0:
            state["beside"] = inputs.new_zeros(2, len(inputs), self.hidden)
        rightwards, state["gates"][:, column] = self.input(inputs).chunk(2, -1)
        above = state["hidden"][0, :, column]
        gates = rightwards + torch.cat([above, state["beside"][0]], -1) @ self.recurrent[0]
        hidden, cell = lstm_cell(gates, state["beside"][1])
        state["beside"] = torch.stack([hidden, cell])
        state["hidden"][0, :, column] = hidden
        return self.output(inputs, hidden + state["hidden"][1, :, column] if row else hidden)

    def _leftwards(self, state: dict[str, Tensor]) -> None:
        """Process the previous row from right to left."""
        hidden = state["hidden"][1]
        beside = cell = torch.zeros_like(hidden[:, 0])
        for column in reversed(range(hidden.shape[1])):
            gates = state["gates"][:, column] + torch.cat([hidden[:, column], beside], -1) @ self.recurrent[1]
            beside, cell = lstm_cell(gates, cell)
            hidden[:, column] = beside


def cut(values: Tensor, start: int, cells: int) -> Tensor:
    """So many cells of a diagonal `(2, B, n, h)` from `start` on, which may be -1; zeros outside of the image."""
    return F.pad(values, (0, 0, -start, start + cells - values.shape[2]))


def diagonals(height: int, width: int, device: torch.device) -> tuple[Tensor, list[int]]:
    """Raster indices `(H W,)` of the pixels ordered by diagonal, top to bottom in each, and the diagonals' lengths."""
    rows = torch.arange(height, device=device)[:, None]
    number = (rows + torch.arange(width, device=device)).flatten()
    sizes = [min(d, height - 1) - max(0, d - width + 1) + 1 for d in range(height + width - 1)]
    return number.argsort(stable=True), sizes


LAYERS = {"row": RowLSTM, "diagonal": DiagonalLSTM}


class PixelRNN(PixelNetwork):
    """A causal convolution and `depth` layers of `hidden` units, on features twice as wide: figure 5 and table 1."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        context_channels: NonNegativeInt = 0,
        *,
        layer: Literal["row", "diagonal"],
        hidden: PositiveInt,
        depth: PositiveInt,
        residual: bool = True,
    ):
        super().__init__()
        self.out_dim = 2 * hidden
        self.stem = CausalStem(image_shape, self.out_dim, condition_dim, context_channels)
        self.layers = LayerList[RasterLSTM](LAYERS[layer](self.out_dim, hidden, residual) for _ in range(depth))

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        features = self.stem(images, condition, context)
        for layer in self.layers:
            features = layer(features)
        return features

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> PixelState:
        like = self.stem.conv.weight.new_empty(n, self.out_dim)
        layers = [layer.start(like, self.stem.width) for layer in self.layers]
        return self.stem.start(n, condition, context, layers)

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        features = self.stem.step(state, row, column)
        for layer, memory in zip(self.layers, state.layers, strict=True):
            features = layer.step(memory, features, row, column)
        return features
