"""Importance-weighted bounds as objectives, https://arxiv.org/abs/1509.00519, and the variants of 1802.04537."""

import math
from typing import Literal

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.models.objective import Objective
from lightning_gen.models.vae import VAE


class ImportanceWeighted(Objective):
    """The bound of `samples` posterior samples; MIWAE, CIWAE and PIWAE by the other settings.

    - `groups`: the mean of so many bounds is maximized (MIWAE). `elbo_share`: share of the evidence lower bound
      (CIWAE). `partial`: decoder and prior learn from one bound of all samples, the encoder from `groups` (PIWAE).
    - `gradient` of the encoder: `dreg` is doubly reparameterized, https://arxiv.org/abs/1810.04152, whose noise does
      not grow with the samples; `reparameterized` is that of the bound as it is.
    """

    def __init__(
        self,
        samples: PositiveInt,
        groups: PositiveInt = 1,
        elbo_share: UnitInterval = 0.0,
        partial: bool = False,
        gradient: Literal["dreg", "reparameterized"] = "dreg",
    ):
        super().__init__()
        self.samples = samples
        self.groups = groups
        self.elbo_share = elbo_share
        self.partial = partial
        self.doubly = gradient == "dreg"
        if partial and not self.doubly:
            raise UserError("model.objective.partial=true: needs model.objective.gradient=dreg, for two bounds")

    def prepare(self, model: VAE) -> None:
        if self.doubly and not model.posterior_family.anywhere:
            raise UserError(
                "model.objective.gradient=dreg: a posterior by a flow lacks the density that it needs; "
                "add model.objective.gradient=reparameterized"
            )
        if model.beta != 1 or model.beta_warmup_images or model.beta_cycle_images:
            raise UserError("model/objective=iwae: has no KL term to weight; remove model.beta and its warm-up")

    def forward(self, model: VAE, batch: Batch) -> dict[str, Tensor]:
        images = model.to_support(batch.images)
        posterior, prior = model.posterior(images, batch.labels), model.prior_density()
        samples = model.infer_together(posterior, prior, images, batch.labels, self.samples * self.groups)
        latents, inferences = zip(*samples, strict=True)
        log_weights = torch.stack([inference.log_weight for inference in inferences])  # (K, B)
        bound = self.bound(log_weights).mean()
        loss = -bound
        if self.doubly and latents[0].requires_grad:
            pairs = zip(latents, inferences, strict=True)
            fixed = [i.log_prob + prior.log_prob(z) - posterior.detached().log_prob(z) for z, i in pairs]
            surrogate = self._doubly_reparameterized(torch.stack(fixed), latents)
            loss = (loss - surrogate).detach() + surrogate  # the value of the bound, the gradient of the surrogate
        nll = -torch.stack([inference.log_prob for inference in inferences]).mean()
        kl = torch.stack([inference.kl for inference in inferences]).mean()
        return {"loss": loss, "reconstruction": nll.detach(), "kl": kl.detach(), "negative_elbo": (nll + kl).detach()}

    def bound(self, log_weights: Tensor) -> Tensor:
        """Nats `(B,)` of log-weights `(K, B)`."""
        groups = log_weights.unflatten(0, (1 if self.partial else self.groups, -1))
        bound = (groups.logsumexp(1) - math.log(groups.shape[1])).mean(0)
        return torch.lerp(bound, log_weights.mean(0), self.elbo_share)

    def _doubly_reparameterized(self, log_weights: Tensor, latents: tuple[Tensor, ...]) -> Tensor:
        """A scalar with the gradients of 1810.04152 (IWAE-DReG): weights squared for the path through the latents."""
        fixed, count = log_weights.detach(), len(log_weights)
        each = fixed.unflatten(0, (self.groups, -1)).softmax(1).flatten(0, 1)
        decoder = fixed.softmax(0) if self.partial else each / self.groups
        decoder = torch.lerp(decoder, torch.full_like(decoder, 1 / count), self.elbo_share)
        encoder = torch.lerp(each.square() / self.groups, torch.full_like(each, 1 / count), self.elbo_share)
        factors = encoder / decoder.clamp(min=torch.finfo(decoder.dtype).tiny)
        for latent, factor in zip(latents, factors, strict=True):
            latent.register_hook(lambda gradient, factor=factor: gradient * factor[:, None])
        return -(decoder * log_weights).sum(0).mean()
