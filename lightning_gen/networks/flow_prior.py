"""Real NVP as a prior of latents, https://arxiv.org/abs/1605.08803."""

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import Prior


class FlowPrior(Prior):
    """Standard normal noise, transformed by `steps` coupling layers of `hidden` units; points are the noise."""

    def __init__(self, dim: int, *, steps: PositiveInt, hidden: PositiveInt):
        super().__init__()
        if dim < 2:
            raise UserError(f"model.latent_dim={dim}: a flow needs at least 2; use model/prior=mixture")
        self.layers = nn.ModuleList(Coupling(dim, hidden, flip=step % 2 == 1) for step in range(steps))

    def log_prob(self, latents: Tensor) -> Tensor:
        noise, log_det = self._to_noise(latents)
        return DiagonalNormal(torch.zeros_like(noise), torch.zeros_like(noise)).log_prob(noise) + log_det  # eq. 2

    def _to_noise(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        log_det = latents.new_zeros(len(latents))
        for layer in self.layers:
            latents, change = layer(latents)
            log_det = log_det + change
        return latents, log_det

    def points(self, noise: Tensor) -> Tensor:
        return noise

    def sample(self, points: Tensor) -> Tensor:
        for layer in reversed(self.layers):
            assert isinstance(layer, Coupling)
            points = layer.inverse(points)
        return points

    def whiten(self, latents: Tensor) -> Tensor:
        return self._to_noise(latents)[0]


class Coupling(nn.Module):
    """Scales and shifts one half of the latents as the other half says; with `flip` the first half."""

    def __init__(self, dim: int, hidden: int, flip: bool):
        super().__init__()
        self.flip = flip
        given, self.changed = (dim - dim // 2, dim // 2) if flip else (dim // 2, dim - dim // 2)
        self.network = nn.Sequential(
            *(nn.Linear(given, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, 2 * self.changed),
        )
        for parameter in self.network[-1].parameters():
            nn.init.zeros_(parameter)  # the layer begins as the identity

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The latents with one half changed, and the log-determinant of the Jacobian, `(B,)`."""
        given, changed = self._split(latents)
        log_scale, shift = self._scale_and_shift(given)
        return self._join(given, changed * log_scale.exp() + shift), log_scale.sum(1)  # eqs. 4-6

    def inverse(self, latents: Tensor) -> Tensor:
        """Undo `forward`: eq. 8."""
        given, changed = self._split(latents)
        log_scale, shift = self._scale_and_shift(given)
        return self._join(given, (changed - shift) * (-log_scale).exp())

    def _split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        size = self.changed if self.flip else latents.shape[1] - self.changed
        first, second = latents.tensor_split([size], dim=1)
        return (second, first) if self.flip else (first, second)

    def _join(self, given: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, given] if self.flip else [given, changed], dim=1)

    def _scale_and_shift(self, given: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.network(given).float().chunk(2, dim=1)
        return 2 * torch.tanh(log_scale / 2), shift  # bounded, so that no early step can overflow
