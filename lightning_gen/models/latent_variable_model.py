"""Base of latent-variable models: the evidence lower bound, https://arxiv.org/abs/1312.6114, eq. 3."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt
from lightning_gen.losses.divergences import kl_from_standard_normal, kls_from_standard_normal
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.label_embedding import label_embedding


class Inference(NamedTuple):
    """One posterior sample: `log_prob` `(B,)` of the images given their latents, and the posterior, `(B, d)` each.

    Latents are whitened by the prior, which is standard normal; the sample is `mean + exp(log_var / 2) * noise`. The
    KL divergence has a closed form. What bounds are made of is in nats, `(B,)`, here and in `SampledInference`.
    """

    log_prob: Tensor
    mean: Tensor
    log_var: Tensor
    noise: Tensor

    @property
    def kl(self) -> Tensor:
        """KL(q(z | x) || p(z)), `(B,)`."""
        return kl_from_standard_normal(self.mean, self.log_var)

    @property
    def kls(self) -> Tensor:
        """The KL divergence of each latent, `(B, d)`."""
        return kls_from_standard_normal(self.mean, self.log_var)

    @property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z | x), `(B,)`."""
        # log p(z) - log q(z | x) = (noise^2 + log_var - z^2) / 2: the other terms of both normalizers cancel.
        latent = DiagonalNormal(self.mean, self.log_var).reparameterize(self.noise)
        return self.log_prob + 0.5 * (self.noise**2 + self.log_var - latent**2).sum(dim=1)


class SampledInference(NamedTuple):
    """One posterior sample z by its densities, `(B,)` each: log p(x | z), log p(z), log q(z | x)."""

    log_prob: Tensor
    log_prior: Tensor
    log_posterior: Tensor
    closed_kl: Tensor | None = None  # the KL divergence, if it has a closed form

    @property
    def kl(self) -> Tensor:
        """KL(q(z | x) || p(z)), `(B,)`, without a closed form estimated by the sample."""
        return self.log_posterior - self.log_prior if self.closed_kl is None else self.closed_kl

    @property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z | x), `(B,)`."""
        return self.log_prob + self.log_prior - self.log_posterior


AnyInference = Inference | SampledInference


class LatentVariableModel(LikelihoodModel):
    """Base of models trained on the evidence lower bound, with any likelihood; `beta` weights the KL term (beta-VAE).

    In training it rises linearly from 0 over `beta_warmup_images`, https://arxiv.org/abs/1511.06349, section 3.1:
    decoders with other inputs, such as earlier frames, may otherwise ignore the latents (posterior collapse). With
    `beta_cycle_images` it does so again and again, over the first half of each cycle of so many images: latents found
    in one cycle are the start of the next, https://arxiv.org/abs/1903.10145, eqs. 6-7.

    A subclass implements `inferences`. A conditional model gives its networks a label embedding of `label_dim` values.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        beta: NonNegativeFloat,
        beta_warmup_images: NonNegativeInt = 0,
        beta_cycle_images: NonNegativeInt = 0,
        label_dim: NonNegativeInt = 16,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.beta = beta
        self.beta_warmup_images = beta_warmup_images
        self.beta_cycle_images = beta_cycle_images
        self.label_dim = label_dim if self.num_classes else 0
        self.label_embedding = label_embedding(self.num_classes, label_dim)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[AnyInference]:
        """Yield `samples` posterior samples for images in the likelihood's support."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence lower bound in nats, and its two terms."""
        [inference] = self.inferences(self.to_support(batch.images), batch.labels, samples=1)
        return self.bound(inference)

    def bound(self, inference: AnyInference) -> dict[str, Tensor]:
        """The terms of the negative evidence lower bound."""
        kl = inference.kl
        return bound_terms(inference.log_prob, kl, self.weighted_kl(inference, kl).mean())

    def weighted_kl(self, inference: AnyInference, kl: Tensor) -> Tensor:
        """The KL term of the loss, `(B,)`, given the KL divergence of all latents, `(B,)`."""
        return self.scaled_kl(kl)

    def scaled_kl(self, kl: Tensor) -> Tensor:
        """`kl` times the current `kl_weight`."""
        return self.scheduled("kl_weight", lambda: self.kl_weight) * kl

    @property
    def kl_weight(self) -> float:
        """The current weight of the KL term: `beta`, with linear warm-up and cycles in training."""
        if not self.training:
            return self.beta
        if self.images_seen < self.beta_warmup_images:
            return self.beta * self.images_seen / self.beta_warmup_images
        if self.beta_cycle_images:
            return self.beta * min(1, 2 * (self.images_seen % self.beta_cycle_images) / self.beta_cycle_images)
        return self.beta

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound, or with more `samples` the tighter one of IWAE (1509.00519, eq. 8)."""
        inferences = self.inferences(images, labels, samples)
        if samples == 1:
            [inference] = inferences
            return inference.log_prob - inference.kl
        # log (1 / K) sum_k p(x, z_k) / q(z_k | x)
        weights = [inference.log_weight for inference in inferences]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def condition(self, labels: Tensor | None) -> Tensor | None:
        """The second input of a conditional model's networks, `(B, label_dim)`."""
        return self.label_embedding(labels)


def bound_terms(log_prob: Tensor, kl: Tensor, penalty: Tensor) -> dict[str, Tensor]:
    """The loss, reconstruction plus `penalty`, a scalar, and the terms of the ELBO, of `(B,)` each, to log."""
    nll, mean_kl = -log_prob.mean(), kl.mean()
    loss = nll + penalty
    return {"loss": loss, "reconstruction": nll, "kl": mean_kl, "negative_elbo": (nll + mean_kl).detach()}
