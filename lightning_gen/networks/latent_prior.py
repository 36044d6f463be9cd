"""Priors of latents: standard normal, or learned as in Variational Lossy Autoencoder, https://arxiv.org/abs/1611.02731."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.lstm import LSTMOutput


class StandardNormalPrior(nn.Module):
    """Independent latents of mean 0 and variance 1."""

    def __init__(self, dim: int):
        super().__init__()

    def forward(self, latents: Tensor) -> DiagonalNormal:
        """Of latents `(B, dim)`."""
        return DiagonalNormal(torch.zeros_like(latents), torch.zeros_like(latents))

    def draw(self, noise: Tensor) -> Tensor:
        """Latents `(B, dim)` of standard normal noise."""
        return noise


class AutoregressivePrior(nn.Module):
    """Normal distributions of `group` latents each, said by an LSTM of `hidden` units that reads the groups before.

    All posteriors together are seldom a standard normal: draws of one are often like no image's latents. This prior
    learns what they are like.
    """

    def __init__(self, dim: int, *, group: PositiveInt, hidden: PositiveInt):
        super().__init__()
        divisors = [n for n in range(1, dim + 1) if dim % n == 0]
        if group not in divisors:
            raise UserError(f"group={group} of the prior doesn't divide the {dim} latents; give one of {divisors}")
        self.group = group
        self.groups = LSTMOutput(group, hidden, 2 * group)

    def forward(self, latents: Tensor) -> DiagonalNormal:
        """Of latents `(B, dim)`, each given those of earlier groups."""
        before = F.pad(latents.unflatten(1, (-1, self.group))[:, :-1], (0, 0, 1, 0))
        return DiagonalNormal(*(each.flatten(1) for each in DiagonalNormal.of(self.groups(before)[0])))

    def draw(self, noise: Tensor) -> Tensor:
        """Latents `(B, dim)` of standard normal noise."""
        group, state, drawn = torch.zeros_like(noise[:, : self.group]), None, []
        for each in noise.split(self.group, dim=1):
            output, state = self.groups(group[:, None], state)
            group = DiagonalNormal.of(output[:, 0]).draw(each)
            drawn.append(group)
        return torch.cat(drawn, dim=1)
