"""FactorVAE: total correlation by a discriminator of latents, https://arxiv.org/abs/1802.05983."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.models.latent_variable_model import bound_terms
from lightning_gen.models.objective import Objective
from lightning_gen.models.vae import VAE


class Factor(Objective):
    """`weight` is that of the total correlation, which a discriminator of `depth` layers of `width` units estimates.

    It learns, with an `optimizer` of its own, to tell latents of images from latents whose coordinates come from
    different images of the batch.
    """

    def __init__(
        self,
        weight: NonNegativeFloat,
        width: PositiveInt,
        depth: PositiveInt,
        optimizer: Callable[..., torch.optim.Optimizer],
    ):
        super().__init__()
        self.weight = weight
        self.width = width
        self.depth = depth
        self.make_optimizer = optimizer

    def prepare(self, model: Any) -> None:
        widths = [model.latent_dim, *[self.width] * self.depth]
        hidden = [(nn.Linear(n, m), nn.LeakyReLU(0.2)) for n, m in pairwise(widths)]
        self.discriminator = nn.Sequential(*(layer for pair in hidden for layer in pair), nn.Linear(self.width, 1))

    def forward(self, model: VAE, batch: Batch) -> dict[str, Tensor]:
        images = model.to_support(batch.images)
        posterior = model.posterior(images, batch.labels)
        latent, inference = model.infer(posterior, model.prior_density(), images, batch.labels)
        # log D / (1 - D), eq. 3, of a discriminator that this term does not train
        weights = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        total = functional_call(self.discriminator, weights, (latent,)).float().mean()
        kl = inference.kl
        terms = bound_terms(inference.log_prob, kl, model.scaled_kl(kl).mean() + self.weight * total)
        own = self._discriminator_loss(latent.detach())
        # Both are minimized together, but the discriminator's says nothing of the model.
        terms["loss"] = terms["loss"] + (own - own.detach())
        return terms | {"total_correlation": total.detach(), "discriminator": own.detach()}

    def _discriminator_loss(self, latent: Tensor) -> Tensor:
        order = torch.rand_like(latent).argsort(0)  # one for each coordinate: algorithm 1
        permuted = latent.gather(0, order)
        joint, product = self.discriminator(torch.cat([latent, permuted])).float().chunk(2)
        return 0.5 * (F.softplus(-joint) + F.softplus(product)).mean()
