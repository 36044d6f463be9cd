"""What models with latent variables share: the evidence lower bound, https://arxiv.org/abs/1312.6114, eq. 3."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.networks.diagonal_normal import DiagonalNormal


class Inference(NamedTuple):
    """One draw of the latents: `log_prob` (B,) of the image given them, and their posterior `(B, d)`.

    Latents are in units of the prior, a standard normal; the drawn ones are `mean + exp(log_var / 2) * noise`.
    """

    log_prob: Tensor
    mean: Tensor
    log_var: Tensor
    noise: Tensor

    @property
    def kl(self) -> Tensor:
        """Divergence of the posterior from the prior, `(B,)`."""
        return kl_from_standard_normal(self.mean, self.log_var)

    @property
    def log_weight(self) -> Tensor:
        """log p(x, z) - log q(z | x), `(B,)`; the normalizers of the two Gaussians cancel up to the variance."""
        latent = DiagonalNormal(self.mean, self.log_var).draw(self.noise)
        return self.log_prob + 0.5 * (self.noise**2 + self.log_var - latent**2).sum(dim=1)


class LatentVariableModel(ImageGenerator):
    """Base of models trained on the lower bound, with any likelihood; `beta` weighs the divergence (beta-VAE).

    In training it rises from 0 over `beta_warmup_images`, https://arxiv.org/abs/1511.06349, section 3.1: where a
    decoder has more to go by than the latents, as frames before, it may otherwise not learn to use them for long.

    A subclass contributes `inferences`. A conditional model gives its networks an embedding of the label with
    `label_dim` values.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        likelihood: Likelihood,
        beta: NonNegativeFloat,
        beta_warmup_images: NonNegativeInt = 0,
        label_dim: NonNegativeInt = 16,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.likelihood = likelihood
        self.beta = beta
        self.beta_warmup_images = beta_warmup_images
        self.label_dim = label_dim if self.num_classes else 0
        self.label_embedding = nn.Embedding(self.num_classes, label_dim) if self.num_classes else nn.Identity()

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Draw latents of the observed images `samples` times."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence lower bound in nats, and its two terms."""
        [inference] = self.inferences(self.observe(batch.images), batch.labels, samples=1)
        nll, divergence = -inference.log_prob.mean(), inference.kl
        loss, kl = nll + self.weighed_divergence(inference, divergence).mean(), divergence.mean()
        return {"loss": loss, "reconstruction": nll, "kl": kl, "negative_elbo": (nll + kl).detach()}

    def weighed_divergence(self, inference: Inference, divergence: Tensor) -> Tensor:
        """What is minimized of the divergence, `(B,)` that of all latents."""
        return self.kl_weight * divergence

    @property
    def kl_weight(self) -> float:
        """`beta`, or in its warm-up what is due."""
        if not self.training or self.images_seen >= self.beta_warmup_images:
            return self.beta
        return self.beta * self.images_seen / self.beta_warmup_images

    def observe(self, images: Tensor) -> Tensor:
        """Images as the likelihood's support holds them."""
        return self.likelihood.observe(images)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound, or with more `samples` the tighter one of IWAE (1509.00519, eq. 8)."""
        inferences = self.inferences(images, labels, samples)
        if samples == 1:
            [inference] = inferences
            return inference.log_prob - inference.kl
        weights = [inference.log_weight for inference in inferences]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def condition(self, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What the networks of a conditional model are given beside their input."""
        return (self.label_embedding(labels),) if self.num_classes else ()
