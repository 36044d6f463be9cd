"""Self-attention over the positions of a feature map (SAGAN), https://arxiv.org/abs/1805.08318, section 3."""

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Residual self-attention on maps `(B, C, H, W)`, scaled by `gamma`, which is initialized to zero."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        inner = max(1, channels // reduction)
        self.f, self.g, self.h = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.v = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        f, g, h = (projection(maps).flatten(2) for projection in (self.f, self.g, self.h))  # (B, inner, N)
        # Not torch's fused attention: it has no second derivative, which gradient penalties need.
        attention = (g.mT @ f).softmax(dim=2)  # eq. 1: (B, N, N), row j sums to 1
        attended = self.v((h @ attention.mT).unflatten(2, maps.shape[2:]))  # eq. 2
        return self.gamma * attended + maps  # eq. 3
