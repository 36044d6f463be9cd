"""Conditional normalization: gain and bias depend on a condition, https://arxiv.org/abs/1707.00683, section 2.2."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.networks.layers import Normalization, normalization_layer


class ConditionalNorm(nn.Module):
    """Normalization of maps `(B, C, H, W)` with gain and bias linear in a condition `(B, condition_dim)`.

    It is initialized as the unconditional normalization; with a `condition_dim` of 0 it remains that.
    """

    def __init__(self, normalization: Normalization, channels: int, condition_dim: int):
        super().__init__()
        self.norm = normalization_layer(normalization, channels)
        # No nn.Linear: spectral normalization would divide its initial zeros by zero.
        self.slopes = nn.Parameter(torch.zeros(2 * channels, condition_dim)) if condition_dim else None

    def forward(self, maps: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = self.norm(maps)
        if self.slopes is None:
            return maps
        assert condition is not None  # as condition_dim > 0
        gain, bias = F.linear(condition, self.slopes)[:, :, None, None].chunk(2, dim=1)
        return maps * (1 + gain) + bias
