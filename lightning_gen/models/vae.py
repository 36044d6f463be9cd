"""Variational autoencoder, https://arxiv.org/abs/1312.6114."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.models.latent_variable_model import (
    AnyInference,
    Inference,
    LatentVariableModel,
    SampledInference,
)
from lightning_gen.models.objective import EvidenceLowerBound, Objective
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.label_embedding import conditioned
from lightning_gen.networks.latent_prior import LatentPrior, Prior, StandardNormalPrior
from lightning_gen.networks.posterior import DiagonalNormalPosterior, Posterior, PosteriorFamily


class VAE(LatentVariableModel):
    """An encoder to a posterior, a prior, a decoder to a likelihood, and an objective: parts that are chosen each.

    `encoder(image_shape, out_dim)`, `decoder(in_dim, image_shape)`, `prior(dim)` and `posterior(dim)` are completed
    here; both networks of a conditional VAE get the label embedding. Latents of `latent`, `encode` and `decode` are the
    prior's points: whitened by the prior, so that they are standard normal, where that is possible.
    """

    averaged_parts = ("encoder", "decoder", "prior", "posterior_family", "label_embedding")
    compiled_parts = ("encoder", "decoder")
    temperature = 1.0

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent_dim: PositiveInt,
        prior: Callable[..., Prior] = StandardNormalPrior,
        posterior: Callable[..., PosteriorFamily] = DiagonalNormalPosterior,
        objective: Objective | None = None,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        condition = {"condition_dim": self.label_dim} if self.num_classes else {}
        self.latent_dim = latent_dim
        self.prior = prior(dim=latent_dim)
        self.posterior_family = posterior(dim=latent_dim)
        self.encoder = encoder(image_shape=self.image_shape, out_dim=self.posterior_family.out_dim, **condition)
        self.decoder = decoder(in_dim=latent_dim, image_shape=self.parameters_shape(image_shape), **condition)
        self.objective = EvidenceLowerBound() if objective is None else objective
        self._prepare("prior", self.prior, Prior)
        self._prepare("posterior", self.posterior_family, PosteriorFamily)
        self._prepare("objective", self.objective, Objective)

    def _prepare(self, name: str, part: Any, kind: type) -> None:
        if not isinstance(part, kind):
            base = f"{kind.__module__}.{kind.__name__}"
            raise UserError(f"model.{name}: {type(part).__name__} is no {kind.__name__}; extend {base}")
        part.prepare(self)

    def trainable_groups(self) -> list[tuple[Callable[..., Optimizer], list[nn.Parameter]]]:
        """All parameters, and apart those of an objective that has its own optimizer."""
        [(make, parameters)] = super().trainable_groups()
        if self.objective.make_optimizer is None:
            return [(make, parameters)]
        own = list(self.objective.parameters())
        ids = {id(parameter) for parameter in own}
        return [(make, [p for p in parameters if id(p) not in ids]), (self.objective.make_optimizer, own)]

    @property
    def has_closed_kl(self) -> bool:
        """Whether the KL divergence of each latent has a closed form."""
        return isinstance(self.posterior_family, DiagonalNormalPosterior) and isinstance(self.prior, LatentPrior)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the objective."""
        return self.objective(self, batch)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[AnyInference]:
        """Encode once, decode `samples` posterior samples."""
        posterior, prior = self.posterior(images, labels), self.prior_density()
        for _ in range(samples):
            yield self.infer(posterior, prior, images, labels)[1]

    def infer(
        self, posterior: Posterior, prior: Prior, images: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, AnyInference]:
        """One posterior sample `(B, d)`, and its log probabilities of images in the support."""
        noise = posterior.noise()
        latent = posterior.reparameterize(noise)
        parameters = self.decoder_output(latent, labels)
        return latent, self.inference_of(posterior, prior, noise, latent, parameters, images)

    def inference_of(
        self, posterior: Posterior, prior: Prior, noise: Tensor, latent: Tensor, parameters: Tensor, images: Tensor
    ) -> AnyInference:
        """The log probabilities of images in the support, given a posterior sample and the decoder's output."""
        return self._inference_of(posterior, prior, latent, noise)(self.likelihood.log_prob(parameters, images))

    def infer_together(
        self, posterior: Posterior, prior: Prior, images: Tensor, labels: Tensor | None, samples: int
    ) -> list[tuple[Tensor, AnyInference]]:
        """Samples as of `infer`, decoded as one batch of `samples * B`, which is faster than one after another."""
        drawn = []
        for _ in range(samples):
            noise = posterior.noise()
            latent = posterior.reparameterize(noise)
            drawn.append((latent, self._inference_of(posterior, prior, latent, noise)))
        all_labels = None if labels is None else labels.repeat(samples)
        outputs = self.decoder_output(torch.cat([latent for latent, _ in drawn]), all_labels)
        log_probs = self.likelihood.log_prob(outputs, images.repeat(samples, 1, 1, 1)).chunk(samples)
        return [(latent, of(log_prob)) for (latent, of), log_prob in zip(drawn, log_probs, strict=True)]

    def _inference_of(
        self, posterior: Posterior, prior: Prior, latent: Tensor, noise: Tensor
    ) -> Callable[[Tensor], AnyInference]:
        """The inference of the sample drawn last, a function of log p(x | z)."""
        if isinstance(posterior, DiagonalNormal) and isinstance(prior, LatentPrior):
            whitened = posterior.relative_to(prior(latent))
            return partial(Inference, mean=whitened.mean, log_var=whitened.log_var, noise=noise)
        log_prior, log_posterior = prior.log_prob(latent), posterior.log_prob(latent)
        return partial(
            SampledInference, log_prior=log_prior, log_posterior=log_posterior, closed_kl=posterior.kl(prior)
        )

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> Posterior:
        """q(z | x), `(B, d)`."""
        return self.posterior_family(conditioned(self.encoder, images, self.condition(labels)))

    def prior_density(self) -> Prior:
        """p(z), with what the encoder adds to it."""
        return self.prior.density(self.posterior_of_classes)

    def posterior_of_classes(self, images: Tensor) -> Posterior:
        """q(z | x) of images that have no labels: a conditional model takes the classes in turn."""
        labels = torch.arange(len(images), device=images.device) % self.num_classes if self.num_classes else None
        return self.posterior(images, labels)

    def latent(self, n: int) -> Tensor:
        """Points `(n, latent_dim)` of the prior, from N(0, I) where it has a map from there; `decode` maps them on."""
        return self.prior_density().points(self.temperature * torch.randn(n, self.latent_dim, device=self.device))

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean as a point of the prior, `(B, latent_dim)`."""
        return self.prior.whiten(self.posterior(self.to_support(images), labels).mean)

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected image under the likelihood."""
        if labels is None:
            labels = self.draw_labels(len(latent))
        return self.likelihood.mean(self.decoder_output(self.prior.sample(latent), labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior mean."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Decode latents from the prior."""
        return self.decode(self.latent(n), labels)

    def decoder_output(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Parameters of the likelihood given unwhitened latents, `(B, P * C, H, W)`."""
        return conditioned(self.decoder, latent, self.condition(labels)).float()
