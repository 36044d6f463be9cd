"""Normal posterior whose latents are correlated: a diagonal covariance plus one of low rank."""

import math
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import StandardNormalPrior
from lightning_gen.networks.posterior import PosteriorFamily


class LowRankNormal(NamedTuple):
    """Normal with covariance `diag(exp(log_var)) + factors factors^T`; mean and log_var `(B, d)`, factors `(B, d, r)`.

    `torch.distributions.LowRankMultivariateNormal` is the same, but its Cholesky decomposition waits for the device.
    """

    mean: Tensor
    log_var: Tensor
    factors: Tensor

    def noise(self) -> Tensor:
        dim, rank = self.factors.shape[1:]
        return self.mean.new_empty(len(self.mean), dim + rank).normal_()

    def reparameterize(self, noise: Tensor) -> Tensor:
        own, shared = noise.split(self.factors.shape[1:], dim=1)
        return self.mean + (0.5 * self.log_var).exp() * own + (self.factors * shared[:, None]).sum(2)

    def log_prob(self, latents: Tensor) -> Tensor:
        error, scaled, cholesky, log_det = (latents - self.mean), *self._capacitance()
        # Woodbury: x^T C^-1 x = x^T D^-1 x - |L^-1 F^T D^-1 x|^2
        projected = (scaled * error[:, :, None]).sum(1, keepdim=True).mT
        explained = torch.linalg.solve_triangular(cholesky, projected, upper=False)
        distance = (error.square() * (-self.log_var).exp()).sum(1) - explained.square().sum((1, 2))
        return -0.5 * (distance + log_det + error.shape[1] * math.log(2 * math.pi))

    def _capacitance(self) -> tuple[Tensor, Tensor, Tensor]:
        """D^-1 F, the Cholesky factor L of I + F^T D^-1 F, and the log-determinant of the covariance."""
        scaled = self.factors * (-self.log_var).exp()[:, :, None]
        identity = torch.eye(self.factors.shape[2], device=scaled.device)
        gram = (self.factors[:, :, :, None] * scaled[:, :, None]).sum(1)
        cholesky = torch.linalg.cholesky_ex(identity + gram).L
        log_det = self.log_var.sum(1) + 2 * cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
        return scaled, cholesky, log_det

    def kl(self, prior: Any) -> Tensor | None:
        """The closed form, for a standard normal prior."""
        if not isinstance(prior, StandardNormalPrior):
            return None
        trace = self.log_var.exp().sum(1) + self.factors.square().sum((1, 2))
        return 0.5 * (trace + self.mean.square().sum(1) - self.mean.shape[1] - self._capacitance()[2])

    def detached(self) -> Self:
        return type(self)(*(tensor.detach() for tensor in self))


class LowRankNormalPosterior(PosteriorFamily):
    """Normal latents of a covariance that is diagonal plus one of rank `rank`."""

    def __init__(self, dim: int, *, rank: PositiveInt):
        super().__init__(dim)
        self.rank = rank

    @property
    def out_dim(self) -> int:
        return (2 + self.rank) * self.dim

    def forward(self, output: Tensor) -> LowRankNormal:
        normal, factors = output.float().tensor_split([2 * self.dim], dim=1)
        return LowRankNormal(*DiagonalNormal.of(normal), factors.unflatten(1, (self.dim, self.rank)))
