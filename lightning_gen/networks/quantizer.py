"""The base of quantizers: vectors on a grid to codes and back, with straight-through gradients."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.utilities.ranks import sum_over_ranks


class Quantized(NamedTuple):
    """`latents` `(B, D, H, W)` to decode, their `codes` `(B, depth, H, W)`, int64, and terms of the loss by name."""

    latents: Tensor
    codes: Tensor
    terms: dict[str, Tensor]


class Quantizer(nn.Module):
    """Base of quantizers of features `(B, dim, H, W)`; each position gets `depth` codes below `num_codes`."""

    dim: int
    num_codes: int
    depth = 1

    def forward(self, features: Tensor) -> Quantized:
        """Quantize, in float32; in training a codebook may adapt to the features."""
        raise NotImplementedError

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents `(B, dim, H, W)` of codes `(B, depth, H, W)`."""
        raise NotImplementedError


def straight_through(features: Tensor, latents: Tensor) -> Tensor:
    """The latents, whose gradient goes to the features unchanged: https://arxiv.org/abs/1308.3432."""
    return features + (latents - features).detach()


def joined(quantized: Iterable[Quantized]) -> dict[str, Tensor]:
    """Their terms of the loss; those of one name are added."""
    terms: dict[str, Tensor] = {}
    for each in quantized:
        terms |= {name: value + terms[name] if name in terms else value for name, value in each.terms.items()}
    return terms


@torch.no_grad()
def usage(codes: Tensor, num_codes: int) -> dict[str, Tensor]:
    """How the batch of all ranks uses the codes: the share that occurs, and the perplexity exp(entropy).

    The perplexity is the number of codes that would be in even use. `codes` are `(B, depth, H, W)`; the numbers are
    means over the depth.
    """
    depth = codes.shape[1]
    numbered = codes + num_codes * torch.arange(depth, device=codes.device)[:, None, None]
    ones = torch.ones(numbered.numel(), device=codes.device)
    counts = ones.new_zeros(depth * num_codes).scatter_add_(0, numbered.flatten(), ones)
    counts = sum_over_ranks(counts).view(depth, num_codes)
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return {"perplexity": entropy.exp().mean(), "usage": (counts > 0).float().mean()}
