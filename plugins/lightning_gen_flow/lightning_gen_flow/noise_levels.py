"""Distributions of the noise level in training, the log of the noise-to-signal ratio.

Flow matching takes its sigmoid, the time from data (0) to noise (1); EDM its exponential, sigma.
"""

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveFloat


class LogNormal:
    """Normal: sigma of EDM is log-normal (2206.00364, table 1), time of flow matching logit-normal (2403.03206)."""

    def __init__(self, mean: float, std: PositiveFloat):
        self.mean, self.std = mean, std

    def sample(self, n: int, device: torch.device) -> Tensor:
        """Log ratios `(n,)`."""
        return self.mean + self.std * torch.randn(n, device=device)


class Uniform:
    """Logistic: time is uniform between 0 and 1 (https://arxiv.org/abs/2210.02747, eq. 9)."""

    def sample(self, n: int, device: torch.device) -> Tensor:
        """Log ratios `(n,)`."""
        return torch.logit(torch.rand(n, device=device), eps=1e-5)
