"""Kernel density estimate of latents, https://doi.org/10.1214/aoms/1177704472: a normal kernel at each of many."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.latent_prior import Prior

WIDTHS = 40  # that are tried, from a hundredth of the latents' standard deviations to twice those
ROWS = 1000  # latents that the width is chosen by


class KernelDensity(Prior):
    """Kernels at up to `kernels` latents, each as wide as `scale` `(dim,)`; it is made by `initialize`, not trained."""

    latents: Tensor
    scale: Tensor

    def __init__(self, dim: int, *, kernels: PositiveInt):
        super().__init__()
        self.kernels = kernels
        self.register_buffer("latents", torch.zeros(1, dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_load_state_dict_pre_hook(_as_many)

    def initialize(self, latents: Tensor, images: Tensor) -> None:
        self.latents = latents[: self.kernels].clone()
        spread = self.latents.std(0, correction=0).clamp(min=1e-6)
        self.scale = spread * best_width(self.latents / spread)

    def log_prob(self, latents: Tensor) -> Tensor:
        squared = torch.cdist(latents / self.scale, self.latents / self.scale).square()
        constant = self.scale.log().sum() + 0.5 * latents.shape[1] * math.log(2 * math.pi)
        return (-0.5 * squared).logsumexp(1) - math.log(len(self.latents)) - constant

    def points(self, noise: Tensor) -> Tensor:
        chosen = torch.randint(len(self.latents), (len(noise),), device=noise.device)
        return self.latents[chosen] + self.scale * noise


def best_width(latents: Tensor) -> float:
    """The width of kernels at `latents` `(N, d)` by which each is most likely under those of the others."""
    count, dim = latents.shape
    if count < 2:
        return 1.0
    widths = torch.logspace(-2, math.log10(2), WIDTHS, device=latents.device)
    rows = torch.arange(min(count, ROWS), device=latents.device)
    squared = torch.cdist(latents[rows], latents).square()
    squared[rows, rows] = math.inf
    means = torch.stack([(-0.5 * squared / width**2).logsumexp(1).double().mean() for width in widths])
    return float(widths[(means - dim * widths.double().log()).argmax()])


def _as_many(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Let a state dict with another number of kernels be loaded."""
    given = state.get(f"{prefix}latents")
    if isinstance(module, KernelDensity) and given is not None and given.ndim == 2:
        module.latents = module.latents.new_zeros(len(given), module.latents.shape[1])
