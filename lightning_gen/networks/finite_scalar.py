"""Finite scalar quantization (FSQ), https://arxiv.org/abs/2309.15505: each channel is rounded to a few levels."""

import math

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.quantizer import Quantized, Quantizer, straight_through
from lightning_gen.utilities.autocast import without_autocast


class FiniteScalar(Quantizer):
    """Channel d has `levels[d]` values in [-1, 1]; all combinations of them are codes, none of which is learned."""

    sizes: Tensor  # levels, (D, 1, 1)
    strides: Tensor  # of the digits of a code, (D, 1, 1)

    def __init__(self, *, levels: list[PositiveInt]):
        super().__init__()
        if not levels or min(levels) < 2:
            raise UserError(f"model.quantizer.levels={levels}: give 2 or more levels for each channel, as [8,5,5,5]")
        self.dim, self.num_codes = len(levels), math.prod(levels)
        sizes = torch.tensor(levels)
        self.register_buffer("sizes", sizes[:, None, None], persistent=False)
        self.register_buffer("strides", (sizes.cumprod(0) // sizes)[:, None, None], persistent=False)

    def forward(self, features: Tensor) -> Quantized:
        with without_autocast(features.device):
            bounded = self._bounded(features.float())
            digits = bounded.detach().round() + self.sizes // 2  # 0, ..., L - 1
            latents = straight_through(bounded, bounded.round()) / (self.sizes // 2)
        codes = (digits.long() * self.strides).sum(1, keepdim=True)
        return Quantized(latents, codes, {})

    def _bounded(self, features: Tensor) -> Tensor:
        """Features in an interval that is rounded to L integers: section 3.1, with the shift of even L of its code."""
        half = (self.sizes - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.sizes % 2 == 0, 0.5, 0.0)
        return (features + (offset / half).atanh()).tanh() * half - offset

    def lookup(self, codes: Tensor) -> Tensor:
        digits = codes // self.strides % self.sizes
        return (digits - self.sizes // 2) / (self.sizes // 2)
