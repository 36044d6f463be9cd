"""Diagonal normal distributions parameterized by networks, https://arxiv.org/abs/1312.6114, appendix C.2."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor


class DiagonalNormal(NamedTuple):
    """Means and log-variances `(..., d)`."""

    mean: Tensor
    log_var: Tensor

    @classmethod
    def of(cls, output: Tensor) -> Self:
        """Split a network's output `(..., 2 * d)`."""
        mean, log_var = output.float().chunk(2, dim=-1)
        return cls(mean, log_var.clamp(-15, 15))  # exp() of larger values overflows early in training

    @classmethod
    def cat(cls, normals: Iterable[Self]) -> Self:
        """The joint distribution of independent ones `(B, d)`, `(B, sum of d)`."""
        means, log_vars = zip(*normals, strict=True)
        return cls(torch.cat(means, dim=1), torch.cat(log_vars, dim=1))

    def noise(self) -> Tensor:
        """Standard normal noise for `reparameterize`."""
        return torch.randn_like(self.mean)

    def reparameterize(self, noise: Tensor) -> Tensor:
        """The sample z = mean + std * noise for standard normal `noise` `(..., d)`."""
        return self.mean + (0.5 * self.log_var).exp() * noise

    def log_probs(self, latents: Tensor) -> Tensor:
        """The log-density of each coordinate, `(..., d)`."""
        squared = (latents - self.mean).square() * (-self.log_var).exp()
        return -0.5 * (squared + self.log_var + math.log(2 * math.pi))

    def log_prob(self, latents: Tensor) -> Tensor:
        """The log-density in nats, `(...)`."""
        return self.log_probs(latents).sum(-1)

    def kl(self, prior: Any) -> None:
        """None: the closed form needs the prior's conditional distributions (`relative_to`)."""
        return

    def detached(self) -> Self:
        """The same distribution, without gradients to its parameters."""
        return type(self)(self.mean.detach(), self.log_var.detach())

    def relative_to(self, other: Self) -> Self:
        """Whitened by `other`: the KL divergence from a standard normal is then the one from `other`."""
        return type(self)((self.mean - other.mean) * (-0.5 * other.log_var).exp(), self.log_var - other.log_var)
