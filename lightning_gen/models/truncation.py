"""The truncation trick: better samples of less variety, https://arxiv.org/abs/1809.11096, section 3.1."""

import math

import torch
from torch import Tensor


def truncated(latent: Tensor, bound: float) -> Tensor:
    """Standard normal values mapped monotonically to the normal distribution truncated at ±`bound`.

    The distribution is that of resampling values outside, but each sample changes continuously with the bound.
    """
    probability = math.erf(bound / math.sqrt(2))  # of the interval
    values = latent.cpu().double()  # which Apple's GPUs don't have
    return torch.erfinv((values / math.sqrt(2)).erf() * probability).to(latent) * math.sqrt(2)
