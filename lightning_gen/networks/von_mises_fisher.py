"""Latents on the unit sphere: von Mises-Fisher posterior and uniform prior, https://arxiv.org/abs/1804.00891."""

import math
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.networks.latent_prior import Prior
from lightning_gen.networks.posterior import PosteriorFamily

ANGLES = 512  # of the grid on which the distribution of the angle is computed
MOST = 1000.0  # concentration: the peak of a higher one would be too narrow for the grid


def log_area(dim: int) -> float:
    """log of the area of the unit sphere in `dim` dimensions."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def log_stretch(latents: Tensor, radius: float) -> float:
    """log of the area of a sphere of `radius` over that of the unit sphere, in the dimension of latents `(B, d)`."""
    return (latents.shape[1] - 1) * math.log(radius)


class VonMisesFisher(NamedTuple):
    """Density proportional to exp(concentration * direction^T z) on the unit sphere; `(B, d)` and `(B, 1)`.

    Latents are z times `radius`.

    The angle between z and the direction has the density sin^(d - 2) exp(concentration * cos), which is evaluated on a
    grid: its sum is the normalizer, without Bessel functions, and its inverse distribution function gives samples that
    are differentiable, without rejections.
    """

    direction: Tensor
    concentration: Tensor
    radius: float = 1.0

    @property
    def mean(self) -> Tensor:
        return self.direction * self.radius

    def _angles(self) -> tuple[Tensor, Tensor]:
        """The grid, `(ANGLES,)` midpoints, and the unnormalized log-density of each, `(B, ANGLES)`."""
        angles = (torch.arange(ANGLES, device=self.direction.device) + 0.5) * (math.pi / ANGLES)
        exponent = self.concentration * (angles.cos() - 1)  # less the maximum, which would cancel
        return angles, (self.direction.shape[1] - 2) * angles.sin().log() + exponent

    def _log_normalizer(self) -> Tensor:
        integral = self._angles()[1].logsumexp(1) + math.log(math.pi / ANGLES)
        return integral + self.concentration[:, 0] + log_area(self.direction.shape[1] - 1)

    def noise(self) -> Tensor:
        """For the direction, `(B, d)`, and one more value for the angle."""
        return self.direction.new_empty(len(self.direction), self.direction.shape[1] + 1).normal_()

    def reparameterize(self, noise: Tensor) -> Tensor:
        tangent = noise[:, :-1] - (noise[:, :-1] * self.direction).sum(1, keepdim=True) * self.direction
        angle = self._angle(torch.special.ndtr(noise[:, -1:]))
        # normalized once more, as a short tangent is seldom exactly orthogonal
        unit = F.normalize(angle.cos() * self.direction + angle.sin() * F.normalize(tangent, dim=1), dim=1)
        return unit * self.radius

    def _angle(self, uniform: Tensor) -> Tensor:
        """The angle, `(B, 1)`, at which the distribution function is `uniform`."""
        density = self._angles()[1].softmax(1)
        below = F.pad(density.cumsum(1)[:, :-1], (1, 0))  # the distribution function where each cell begins
        cell = (torch.searchsorted(below.detach(), uniform) - 1).clamp(min=0)
        fraction = (uniform - below.gather(1, cell)) / density.gather(1, cell).clamp(min=1e-12)
        return (cell + fraction.clamp(0, 1)) * (math.pi / ANGLES)

    def log_prob(self, latents: Tensor) -> Tensor:
        cosine = (self.direction * latents).sum(1) / self.radius
        return self.concentration[:, 0] * cosine - self._log_normalizer() - log_stretch(self.direction, self.radius)

    def kl(self, prior: Any) -> Tensor | None:
        """The closed form, for a uniform prior: appendix A, by the expected cosine."""
        angles, log_density = self._angles()
        cosine = (log_density.softmax(1) * angles.cos()).sum(1)
        return self.concentration[:, 0] * cosine - self._log_normalizer() + log_area(self.direction.shape[1])

    def detached(self) -> Self:
        return type(self)(self.direction.detach(), self.concentration.detach(), self.radius)


class VonMisesFisherPosterior(PosteriorFamily):
    """Latents around a direction; for `model/prior=uniform_sphere`.

    With `scaled`, the sphere has the radius sqrt(dim), so that latents are as large as standard normal ones, and
    concentrations are in units of `dim`: those far below it are nearly uniform, and the latents would be ignored.
    """

    def __init__(self, dim: int, *, scaled: bool = False):
        super().__init__(dim)
        self.radius = dim**0.5 if scaled else 1.0
        self.unit = float(dim) if scaled else 1.0  # of concentrations

    @property
    def out_dim(self) -> int:
        return self.dim + 1

    def prepare(self, model: Any) -> None:
        if not isinstance(model.prior, UniformSpherePrior):
            raise UserError(
                "model/posterior=von_mises_fisher: its latents are on a sphere; add model/prior=uniform_sphere"
            )

    def forward(self, output: Tensor) -> VonMisesFisher:
        direction, concentration = output.float().tensor_split([self.dim], dim=1)
        # 1 + softplus, as in the paper's code; exp() of larger steps ends in a collapse to the prior
        concentration = (self.unit * (1 + F.softplus(concentration))).clamp(max=MOST)
        return VonMisesFisher(F.normalize(direction, dim=1), concentration, self.radius)


class UniformSpherePrior(Prior):
    """Latents uniform on the sphere of the posterior; points are standard normal noise."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.radius = 1.0

    def prepare(self, model: Any) -> None:
        if self.dim < 2:
            raise UserError(f"model.latent_dim={self.dim}: a sphere has at least 2; give latent_dim=2")
        if not isinstance(model.posterior_family, VonMisesFisherPosterior):
            raise UserError(
                "model/prior=uniform_sphere: is for latents on a sphere; add model/posterior=von_mises_fisher"
            )
        self.radius = model.posterior_family.radius

    def log_prob(self, latents: Tensor) -> Tensor:
        return latents.new_full((len(latents),), -log_area(self.dim) - log_stretch(latents, self.radius))

    def points(self, noise: Tensor) -> Tensor:
        return noise

    def sample(self, points: Tensor) -> Tensor:
        return F.normalize(points, dim=1) * self.radius

    def whiten(self, latents: Tensor) -> Tensor:
        return latents * (self.dim**0.5 / self.radius)
