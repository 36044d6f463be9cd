"""Long short-term memory over vectors."""

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]  # hidden and cell, (1, B, hidden)


class LSTMOutput(nn.Module):
    """Vectors `(B, T, in_dim)` to `(B, T, out_dim)`, each of what came until then, and the state after all.

    The output is linear in the vector just read too: what it says need not be learned to be passed on.
    """

    def __init__(self, in_dim: int, hidden: int, out_dim: int):
        super().__init__()
        self.lstm = nn.LSTM(in_dim, hidden, batch_first=True)
        self.out = nn.Linear(in_dim + hidden, out_dim)

    def forward(self, vectors: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, state = read(self.lstm, vectors, state)
        return self.out(torch.cat([vectors, outputs], dim=2)), state


def read(lstm: nn.LSTM, vectors: Tensor, state: State | None) -> tuple[Tensor, State]:
    """What the LSTM says of vectors, and its state after them; in 32 bits on CPUs, of which most have no 16-bit one."""
    with torch.autocast("cpu", enabled=False):
        return lstm(vectors.float(), state)
