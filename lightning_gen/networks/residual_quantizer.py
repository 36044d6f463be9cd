"""Residual quantization, https://arxiv.org/abs/2203.01941, section 3.1: each code refines the sum of those before."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.quantizer import Quantized, Quantizer, joined, straight_through


class ResidualQuantizer(Quantizer):
    """`depth` quantizers, each of what the ones before leave over; latents are the sum of theirs."""

    def __init__(self, *, depth: PositiveInt, quantizer: Callable[[], Quantizer]):
        super().__init__()
        self.steps = LayerList[Quantizer](quantizer() for _ in range(depth))
        self.depth = depth
        self.dim, self.num_codes = self.steps[0].dim, self.steps[0].num_codes

    def forward(self, features: Tensor) -> Quantized:
        total, parts = torch.zeros_like(features), []
        for step in self.steps:
            parts.append(step(features - total))
            total = total + parts[-1].latents.detach()  # the decoder's gradient comes through their sum
        codes = torch.cat([part.codes for part in parts], 1)
        return Quantized(straight_through(features, total), codes, joined(parts))

    def lookup(self, codes: Tensor) -> Tensor:
        parts = [step.lookup(part) for step, part in zip(self.steps, codes.split(1, dim=1), strict=True)]
        return torch.stack(parts).sum(0)
