"""PredRNN's spatiotemporal LSTM, a memory that goes up the layers and on to the next step, https://arxiv.org/abs/2103.09504."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.networks.cell_layers import CellLayers


class State(NamedTuple):
    """Of each layer hidden and cell, `(B, width, H, W)`; the memory that they share; and what was added to both.

    `increments`, pairs of every step and layer, grow where it is a list. No `hidden` yet: all are zeros.
    """

    hidden: list[Tensor] | None = None
    cell: list[Tensor] | None = None
    memory: Tensor | None = None
    increments: list[tuple[Tensor, Tensor]] | None = None


class STLSTMCell(nn.Module):
    """Section 3.2. What convolves the input is apart, so that it can be done for many steps at once."""

    def __init__(self, in_channels: int, width: int, kernel_size: int):
        super().__init__()
        self.of_input = nn.Conv2d(in_channels, 7 * width, kernel_size, padding="same")
        self.of_hidden = nn.Conv2d(width, 4 * width, kernel_size, padding="same", bias=False)
        self.of_memory = nn.Conv2d(width, 3 * width, kernel_size, padding="same", bias=False)
        self.of_both = nn.Conv2d(2 * width, width, kernel_size, padding="same", bias=False)
        self.join = nn.Conv2d(2 * width, width, 1)
        with torch.no_grad():
            for gate in (1, 5):  # both forget gates: remember at first
                self.of_input.bias[gate * width : (gate + 1) * width] = 1.0

    def forward(
        self, from_input: Tensor, hidden: Tensor, cell: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Next hidden state, cell and memory, and the increments of the latter two.

        `from_input` `(B, 7 * width, H, W)` is what `of_input` gave.
        """
        of_cell, of_memory = from_input.split([len(self.of_hidden.weight), len(self.of_memory.weight)], dim=1)
        input, forget, new, output = (of_cell + self.of_hidden(hidden)).chunk(4, dim=1)
        cell_increment = input.sigmoid() * new.tanh()
        cell = forget.sigmoid() * cell + cell_increment
        input, forget, new = (of_memory + self.of_memory(memory)).chunk(3, dim=1)
        memory_increment = input.sigmoid() * new.tanh()
        memory = forget.sigmoid() * memory + memory_increment
        both = torch.cat([cell, memory], dim=1)
        hidden = torch.sigmoid(output + self.of_both(both)) * self.join(both).tanh()
        return hidden, cell, memory, (cell_increment, memory_increment)


class STLSTMLayers(CellLayers):
    """A stack of `STLSTMCell`, through which one memory goes."""

    def make_cell(self, in_channels: int, kernel_size: int) -> STLSTMCell:
        return STLSTMCell(in_channels, self.width, kernel_size)

    def forward(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        hidden, cell, memory, increments = self.started(maps, state or State())
        top = []
        for from_maps in self.cells[0].of_input(torch.cat(maps.unbind(1))).chunk(maps.shape[1]):
            for number, layer in enumerate(self.cells):
                from_input = layer.of_input(hidden[number - 1]) if number else from_maps
                # The top layer's memory is what the lowest reads at the next step: the paper's zigzag.
                hidden[number], cell[number], memory, added = layer(from_input, hidden[number], cell[number], memory)
                if increments is not None:
                    increments.append(added)
            top.append(hidden[-1])
        return torch.stack(top, dim=1), State(hidden, cell, memory, increments)

    def started(self, maps: Tensor, state: State) -> State:
        """A copy of the state, which is written to, or zeros."""
        if state.hidden is not None:
            return state._replace(hidden=list(state.hidden), cell=list(state.cell))
        zeros = self.zeros(maps)
        layers = len(self.cells)
        return State([zeros] * layers, [zeros] * layers, zeros, state.increments)


def decoupling(cell_increments: Tensor, memory_increments: Tensor) -> Tensor:
    """How alike both are, `(..., H, W)` each: the absolute cosine over a channel's places, averaged: section 3.3."""
    return F.cosine_similarity(cell_increments.flatten(-2), memory_increments.flatten(-2), dim=-1).abs().mean()
