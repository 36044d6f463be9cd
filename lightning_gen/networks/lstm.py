"""Long short-term memory over vectors."""

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # hidden and cell, (1, B, hidden)


class LSTM(nn.LSTM):
    """Vectors `(B, T, in_dim)` to `(B, T, hidden)`, and the state after all; in 32 bits on CPUs, where few have 16."""

    def __init__(self, in_dim: int, hidden: int):
        super().__init__(in_dim, hidden, batch_first=True)

    def forward(self, vectors: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        with torch.autocast("cpu", enabled=False):
            return super().forward(vectors.float(), state)


class LSTMOutput(nn.Module):
    """Vectors `(B, T, in_dim)` to `(B, T, out_dim)`, each of what came until then, and the state after all.

    The output is linear in the vector just read too: what it says need not be learned to be passed on.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int):
        super().__init__()
        self.lstm = LSTM(in_dim, hidden)
        self.out = nn.Linear(in_dim + hidden, out_dim)

    def forward(self, vectors: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, state = self.lstm(vectors, state)
        return self.out(torch.cat([vectors, outputs], dim=2)), state
