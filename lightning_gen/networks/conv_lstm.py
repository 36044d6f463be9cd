"""Convolutional LSTM, https://arxiv.org/abs/1506.04214."""

import torch
from torch import Tensor, nn

from lightning_gen.networks.cell_layers import CellLayers

ConvLSTMState = list[tuple[Tensor, Tensor]]  # hidden state and cell of each layer, (B, width, H, W)


class ConvLSTMCell(nn.Module):
    """Eq. 3. The convolution of the input is apart, so that it can be applied to many steps at once."""

    def __init__(self, in_channels: int, width: int, kernel_size: int, size: tuple[int, int]):
        super().__init__()
        self.of_input = nn.Conv2d(in_channels, 4 * width, kernel_size, padding="same")
        self.of_hidden = nn.Conv2d(width, 4 * width, kernel_size, padding="same", bias=False)
        self.peephole = nn.Parameter(torch.zeros(3, width, *size))  # of the input, forget and output gates
        assert self.of_input.bias is not None
        with torch.no_grad():
            self.of_input.bias[width : 2 * width] = 1.0  # the forget gate is open at first

    def forward(self, from_input: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """The next hidden state and cell; `from_input` `(B, 4 * width, H, W)` is the output of `of_input`."""
        input, forget, new, output = (from_input + self.of_hidden(hidden)).chunk(4, dim=1)
        input = torch.sigmoid(input + self.peephole[0] * cell)
        forget = torch.sigmoid(forget + self.peephole[1] * cell)
        cell = forget * cell + input * new.tanh()
        output = torch.sigmoid(output + self.peephole[2] * cell)
        return output * cell.tanh(), cell


class ConvLSTMLayers(CellLayers[ConvLSTMCell]):
    """A stack of `ConvLSTMCell`."""

    def make_cell(self, in_channels: int, kernel_size: int) -> ConvLSTMCell:
        return ConvLSTMCell(in_channels, self.width, kernel_size, self.size)

    def forward(self, maps: Tensor, state: ConvLSTMState | None) -> tuple[Tensor, ConvLSTMState]:
        zeros = self.zeros(maps)
        next_state = []
        hiddens = list(maps.unbind(1))
        for cell, (hidden, memory) in zip(self.cells, state or [(zeros, zeros)] * len(self.cells), strict=True):
            from_inputs = cell.of_input(torch.cat(hiddens)).unflatten(0, (len(hiddens), -1))
            hiddens = []
            for from_input in from_inputs.unbind():
                hidden, memory = cell(from_input, hidden, memory)
                hiddens.append(hidden)
            next_state.append((hidden, memory))
        return torch.stack(hiddens, dim=1), next_state
