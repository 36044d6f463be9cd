"""PredRNN's spatiotemporal LSTM, whose memory passes up the layers and on to the next step: 2103.09504."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.networks.cell_layers import CellLayers


class STLSTMState(NamedTuple):
    """Hidden state and cell of each layer and the memory they share, `(B, width, H, W)`; empty before the first step.

    Where `increments` is a list, the increments of cell and memory at every step and layer are appended to it.
    """

    hidden: Sequence[Tensor] = ()
    cell: Sequence[Tensor] = ()
    memory: Tensor | None = None
    increments: list[tuple[Tensor, Tensor]] | None = None


class STLSTMCell(nn.Module):
    """Section 3.2. The convolution of the input is apart, so that it can be applied to many steps at once."""

    def __init__(self, in_channels: int, width: int, kernel_size: int):
        super().__init__()
        self.of_input = nn.Conv2d(in_channels, 7 * width, kernel_size, padding="same")
        self.of_hidden = nn.Conv2d(width, 4 * width, kernel_size, padding="same", bias=False)
        self.of_memory = nn.Conv2d(width, 3 * width, kernel_size, padding="same", bias=False)
        self.of_both = nn.Conv2d(2 * width, width, kernel_size, padding="same", bias=False)
        self.join = nn.Conv2d(2 * width, width, 1)
        assert self.of_input.bias is not None
        with torch.no_grad():
            for gate in (1, 5):  # both forget gates are open at first
                self.of_input.bias[gate * width : (gate + 1) * width] = 1.0

    def forward(
        self, from_input: Tensor, hidden: Tensor, cell: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Next hidden state, cell and memory, and the increments of the latter two.

        `from_input` `(B, 7 * width, H, W)` is the output of `of_input`.
        """
        for_cell, for_memory = from_input.split([len(self.of_hidden.weight), len(self.of_memory.weight)], dim=1)
        # C_t = f C_{t-1} + i g
        input, forget, new, output = (for_cell + self.of_hidden(hidden)).chunk(4, dim=1)
        cell_increment = input.sigmoid() * new.tanh()
        cell = forget.sigmoid() * cell + cell_increment
        # M_t^l = f' M_t^{l-1} + i' g'
        input, forget, new = (for_memory + self.of_memory(memory)).chunk(3, dim=1)
        memory_increment = input.sigmoid() * new.tanh()
        memory = forget.sigmoid() * memory + memory_increment
        # H_t = o tanh(W [C_t, M_t])
        both = torch.cat([cell, memory], dim=1)
        hidden = torch.sigmoid(output + self.of_both(both)) * self.join(both).tanh()
        return hidden, cell, memory, (cell_increment, memory_increment)


class STLSTMLayers(CellLayers[STLSTMCell]):
    """A stack of `STLSTMCell` with one shared memory."""

    def make_cell(self, in_channels: int, kernel_size: int) -> STLSTMCell:
        return STLSTMCell(in_channels, self.width, kernel_size)

    def forward(self, maps: Tensor, state: STLSTMState | None) -> tuple[Tensor, STLSTMState]:
        state = state or STLSTMState()
        zeros = self.zeros(maps)
        hidden = list(state.hidden or [zeros] * len(self.cells))  # copies, which are written to
        cell = list(state.cell or [zeros] * len(self.cells))
        memory = zeros if state.memory is None else state.memory
        top = []
        from_inputs = self.cells[0].of_input(maps.transpose(0, 1).flatten(0, 1))
        for from_maps in from_inputs.unflatten(0, (maps.shape[1], -1)).unbind():
            for number, layer in enumerate(self.cells):
                from_input = layer.of_input(hidden[number - 1]) if number else from_maps
                # The memory of the top layer enters the lowest at the next step: the paper's zigzag.
                hidden[number], cell[number], memory, increments = layer(
                    from_input, hidden[number], cell[number], memory
                )
                if state.increments is not None:
                    state.increments.append(increments)
            top.append(hidden[-1])
        return torch.stack(top, dim=1), STLSTMState(hidden, cell, memory, state.increments)


def decoupling(cell_increments: Tensor, memory_increments: Tensor) -> Tensor:
    """Mean absolute cosine similarity of the channels of both increments, `(..., H, W)` each: section 3.3."""
    return F.cosine_similarity(cell_increments.flatten(-2), memory_increments.flatten(-2), dim=-1).abs().mean()
