"""Priors of latents: standard normal, or learned as in Variational Lossy Autoencoder, https://arxiv.org/abs/1611.02731."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.lstm import LSTMOutput


class Prior(nn.Module):
    """Base of priors p(z) of latents `(B, dim)`: their density, and a space of points from which they are sampled.

    Points are what a model interpolates and projects. By default they are the latents themselves; where a prior maps
    standard normal noise to latents, they are that noise.
    """

    def prepare(self, model: Any) -> None:
        """Called once when the VAE has its parts; UserError for parts that don't suit."""

    def initialize(self, latents: Tensor, images: Tensor) -> None:
        """Begin a fit to `latents` `(N, dim)`, in random order, of a trained model; `images` are of the first."""

    def density(self, encode: Callable[[Tensor], Any]) -> "Prior":
        """The prior with its weights of now; one that is made of posteriors gets them by `encode(images)`."""
        return self

    def log_prob(self, latents: Tensor) -> Tensor:
        """log p(z) in nats, `(B,)`."""
        raise NotImplementedError

    def points(self, noise: Tensor) -> Tensor:
        """Random points, given standard normal noise `(B, dim)`."""
        raise NotImplementedError

    def sample(self, points: Tensor, /) -> Tensor:
        """Map points to latents."""
        return points

    def whiten(self, latents: Tensor) -> Tensor:
        """Map latents to points: the inverse of `sample`."""
        return latents


class LatentPrior(Prior):
    """Base of priors whose latents are normal, given the earlier ones; points are standard normal noise."""

    def forward(self, latents: Tensor) -> DiagonalNormal:
        """The distribution of each latent, given the earlier ones if it depends on them."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        """Map standard normal noise `(B, dim)` to latents: the inverse of whitening."""
        raise NotImplementedError

    def points(self, noise: Tensor) -> Tensor:
        return noise

    def log_prob(self, latents: Tensor) -> Tensor:
        return self(latents).log_prob(latents)

    def whiten(self, latents: Tensor) -> Tensor:
        return DiagonalNormal(latents, torch.zeros_like(latents)).relative_to(self(latents)).mean


class StandardNormalPrior(LatentPrior):
    """Independent latents of mean 0 and variance 1."""

    def __init__(self, dim: int):
        super().__init__()

    def forward(self, latents: Tensor) -> DiagonalNormal:
        return DiagonalNormal(torch.zeros_like(latents), torch.zeros_like(latents))

    def sample(self, noise: Tensor) -> Tensor:
        return noise


class AutoregressivePrior(LatentPrior):
    """Normal distributions of `group` latents each, predicted from the earlier groups by an LSTM of `hidden` units.

    The aggregate posterior is seldom a standard normal, so samples of one often look like no image's latents. This
    prior learns the aggregate posterior.
    """

    def __init__(self, dim: int, *, group: PositiveInt, hidden: PositiveInt):
        super().__init__()
        divisors = [n for n in range(1, dim + 1) if dim % n == 0]
        if group not in divisors:
            raise UserError(f"group={group} of the prior doesn't divide the {dim} latents; give one of {divisors}")
        self.group = group
        self.groups = LSTMOutput(group, hidden, 2 * group)

    def forward(self, latents: Tensor) -> DiagonalNormal:
        earlier = F.pad(latents.unflatten(1, (-1, self.group))[:, :-1], (0, 0, 1, 0))
        mean, log_var = DiagonalNormal.of(self.groups(earlier)[0])
        return DiagonalNormal(mean.flatten(1), log_var.flatten(1))

    def sample(self, noise: Tensor) -> Tensor:
        latents, state, groups = torch.zeros_like(noise[:, : self.group]), None, []
        for group_noise in noise.split(self.group, dim=1):
            output, state = self.groups(latents[:, None], state)
            latents = DiagonalNormal.of(output[:, 0]).reparameterize(group_noise)
            groups.append(latents)
        return torch.cat(groups, dim=1)
