"""Long short-term memory over vectors."""

import torch
from torch import Tensor, nn

from lightning_gen.networks.recurrent import run

LSTMState = tuple[Tensor, Tensor]  # hidden and cell, (1, B, hidden)


class LSTMOutput(nn.Module):
    """Vectors `(B, T, in_dim)` to outputs `(B, T, out_dim)`, each of the vectors up to then, and the last state.

    A skip connection makes the output linear in the current vector too.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int):
        super().__init__()
        self.lstm = nn.LSTM(in_dim, hidden, batch_first=True)
        self.out = nn.Linear(in_dim + hidden, out_dim)

    def forward(self, vectors: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        outputs, state = run(self.lstm, vectors, state)
        return self.out(torch.cat([vectors, outputs], dim=2)), state
