"""Self-attention between the places of a map (SAGAN), https://arxiv.org/abs/1805.08318, section 3."""

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Maps `(B, C, H, W)` to the same plus `gamma` times what each place gathers from all; `gamma` starts at zero."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        inner = max(1, channels // reduction)
        self.f, self.g, self.h = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.v = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        f, g, h = (each(maps).flatten(2) for each in (self.f, self.g, self.h))  # (B, inner, N)
        # Written out: torch's fused attention has no second derivative, and gradient penalties need it.
        attention = (g.mT @ f).softmax(dim=2)  # eq. 1: (B, N, N), row j is what place j attends to
        gathered = self.v((h @ attention.mT).unflatten(2, maps.shape[2:]))  # eq. 2
        return self.gamma * gathered + maps  # eq. 3
