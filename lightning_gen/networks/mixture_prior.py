"""Mixtures of normals as priors: of learned components, and VampPrior, whose components are posteriors."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import Prior
from lightning_gen.networks.posterior import DiagonalNormalPosterior


class NormalMixture(Prior):
    """Diagonal normal `components` `(K, d)` with logarithms of their weights `(K,)`; points are latents."""

    def __init__(self, components: DiagonalNormal, log_weights: Tensor):
        super().__init__()
        self.components = components
        self.log_weights = log_weights

    def log_prob(self, latents: Tensor) -> Tensor:
        return (self.components.log_prob(latents[:, None]) + self.log_weights).logsumexp(1)

    def points(self, noise: Tensor) -> Tensor:
        # The argmax of log-weights plus Gumbel noise is a sample of the components, without a wait for the device.
        gumbel = -torch.empty(len(noise), len(self.log_weights), device=noise.device).exponential_().log()
        chosen = (self.log_weights + gumbel).argmax(1)
        return DiagonalNormal(self.components.mean[chosen], self.components.log_var[chosen]).reparameterize(noise)


class MixturePrior(Prior):
    """A mixture of `components` diagonal normals, whose means, variances and weights are learned."""

    def __init__(self, dim: int, *, components: PositiveInt):
        super().__init__()
        self.mean = nn.Parameter(0.1 * torch.randn(components, dim))  # together nearly a standard normal
        self.log_var = nn.Parameter(torch.zeros(components, dim))
        self.logits = nn.Parameter(torch.zeros(components))

    @torch.no_grad()
    def initialize(self, latents: Tensor, images: Tensor) -> None:
        self.mean.copy_(_repeated(latents, len(self.mean)))
        self.log_var.copy_(latents.var(0, correction=0).clamp(min=1e-6).log())

    def density(self, encode: Callable[[Tensor], Any]) -> NormalMixture:
        return NormalMixture(DiagonalNormal(self.mean, self.log_var.clamp(-15, 15)), self.logits.log_softmax(0))


class VampPrior(Prior):
    """The mean of the posteriors of `components` learned images (pseudo-inputs), https://arxiv.org/abs/1705.07120.

    Equation 9: it has the form of the prior that is best, the aggregate posterior of all training images.
    """

    def __init__(self, dim: int, *, components: PositiveInt):
        super().__init__()
        self.components = components

    def prepare(self, model: Any) -> None:
        if not isinstance(model.posterior_family, DiagonalNormalPosterior):
            raise UserError("model/prior=vamp: is a mixture of normal posteriors; use model/posterior=diagonal_normal")
        self.images = nn.Parameter(torch.randn(self.components, *model.image_shape))  # before tanh

    @torch.no_grad()
    def initialize(self, latents: Tensor, images: Tensor) -> None:
        self.images.copy_(_repeated(images, self.components).clamp(-0.99, 0.99).atanh())

    def density(self, encode: Callable[[Tensor], Any]) -> NormalMixture:
        log_weights = self.images.new_full((self.components,), -math.log(self.components))
        return NormalMixture(encode(self.images.tanh()), log_weights)


def _repeated(values: Tensor, count: int) -> Tensor:
    """The first `count` of values `(N, ...)`, from the first on again if there are fewer."""
    return values[torch.arange(count, device=values.device) % len(values)]
