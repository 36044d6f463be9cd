"""Householder flow: a normal posterior that is rotated for each image, https://arxiv.org/abs/1611.09630."""

from typing import Any, NamedTuple, Self

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import StandardNormalPrior
from lightning_gen.networks.posterior import PosteriorFamily


class ReflectedNormal(NamedTuple):
    """A diagonal normal `base`, reflected at hyperplanes of unit normals `(B, steps, d)`: of full covariance.

    A reflection keeps volumes and distances from 0, and so the densities and the divergence from a standard normal.
    """

    base: DiagonalNormal
    normals: Tensor

    @property
    def mean(self) -> Tensor:
        return self._reflect(self.base.mean, range(self.normals.shape[1]))

    def _reflect(self, latents: Tensor, steps: range) -> Tensor:
        for step in steps:
            normal = self.normals[:, step]
            latents = latents - 2 * (normal * latents).sum(1, keepdim=True) * normal
        return latents

    def noise(self) -> Tensor:
        return self.base.noise()

    def reparameterize(self, noise: Tensor) -> Tensor:
        return self._reflect(self.base.reparameterize(noise), range(self.normals.shape[1]))

    def log_prob(self, latents: Tensor) -> Tensor:
        return self.base.log_prob(self._reflect(latents, range(self.normals.shape[1])[::-1]))

    def kl(self, prior: Any) -> Tensor | None:
        """The closed form, for a standard normal prior: that of the base."""
        return kl_from_standard_normal(*self.base) if isinstance(prior, StandardNormalPrior) else None

    def detached(self) -> Self:
        return type(self)(self.base.detached(), self.normals.detach())


class HouseholderPosterior(PosteriorFamily):
    """Normal latents that `steps` reflections rotate, all of them predicted by the encoder."""

    def __init__(self, dim: int, *, steps: PositiveInt):
        super().__init__(dim)
        self.steps = steps

    @property
    def out_dim(self) -> int:
        return (2 + self.steps) * self.dim

    def forward(self, output: Tensor) -> ReflectedNormal:
        normal, normals = output.float().tensor_split([2 * self.dim], dim=1)
        return ReflectedNormal(DiagonalNormal.of(normal), F.normalize(normals.unflatten(1, (self.steps, -1)), dim=2))
