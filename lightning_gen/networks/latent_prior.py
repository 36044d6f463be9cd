"""Priors of latents: standard normal, or learned as in Variational Lossy Autoencoder, https://arxiv.org/abs/1611.02731."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.lstm import LSTMOutput


class LatentPrior(nn.Module):
    """Base of priors p(z) of latents `(B, dim)`."""

    def forward(self, latents: Tensor) -> DiagonalNormal:
        """The distribution of each latent, given the earlier ones if it depends on them."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        """Map standard normal noise `(B, dim)` to latents: the inverse of whitening."""
        raise NotImplementedError


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
