"""Variational autoencoder, https://arxiv.org/abs/1312.6114."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.losses.likelihoods import Likelihood


class VAE(ImageGenerator):
    """Gaussian encoder and prior; any likelihood; `beta` weighs the divergence (beta-VAE).

    `encoder(image_shape, out_dim)` and `decoder(in_dim, image_shape)` are completed here. A conditional VAE gives
    both an embedding of the label with `label_dim` values: the encoder as planes, the decoder beside the latent.
    """

    averaged_parts = ("encoder", "decoder", "label_embedding")
    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        likelihood: Likelihood,
        latent_dim: int,
        beta: float,
        label_dim: int = 16,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        channels, height, width = image_shape
        condition = {"condition_dim": label_dim} if self.num_classes else {}
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.beta = beta
        self.label_embedding = nn.Embedding(self.num_classes, label_dim) if self.num_classes else nn.Identity()
        self.encoder = encoder(image_shape=self.image_shape, out_dim=2 * latent_dim, **condition)
        output_shape = (channels * likelihood.parameters_per_value, height, width)
        self.decoder = decoder(in_dim=latent_dim, image_shape=output_shape, **condition)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative evidence lower bound in nats, and its two terms."""
        images = self.observe(batch.images)
        mean, log_var = self.posterior(images, batch.labels)
        latent = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        nll = -self.likelihood.log_prob(self.decoder_output(latent, batch.labels), images).mean()
        kl = kl_from_standard_normal(mean, log_var).mean()
        return {"loss": nll + self.beta * kl, "reconstruction": nll, "kl": kl, "negative_elbo": (nll + kl).detach()}

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance `(B, d)` of q(z | x)."""
        mean, log_var = self.encoder(images, *self.condition(labels)).float().chunk(2, dim=1)
        return mean, log_var.clamp(-15, 15)  # exp() of more is of no use and overflows early in training

    def observe(self, images: Tensor) -> Tensor:
        """Images as the likelihood's support holds them."""
        return self.likelihood.observe(images)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound, or with more `samples` the tighter one of IWAE (1509.00519, eq. 8)."""
        mean, log_var = self.posterior(images, labels)
        if samples == 1:
            latent = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
            log_prob = self.likelihood.log_prob(self.decoder_output(latent, labels), images)
            return log_prob - kl_from_standard_normal(mean, log_var)
        weights = [self._log_weight(images, labels, mean, log_var) for _ in range(samples)]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def _log_weight(self, images: Tensor, labels: Tensor | None, mean: Tensor, log_var: Tensor) -> Tensor:
        noise = torch.randn_like(mean)
        latent = mean + (0.5 * log_var).exp() * noise
        log_prob = self.likelihood.log_prob(self.decoder_output(latent, labels), images)
        # log p(z) - log q(z | x); the normalisers of the two Gaussians cancel up to the variance
        return log_prob + 0.5 * (noise**2 + log_var - latent**2).sum(dim=1)

    def latent(self, n: int) -> Tensor:
        """Draw `(n, latent_dim)` from the prior."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, `(B, latent_dim)`."""
        return self.posterior(self.observe(images), labels)[0]

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected image under the likelihood."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(latent))
        return self.likelihood.mean(self.decoder_output(latent, labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior mean."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Expected images of latents from the prior."""
        return self.decode(self.latent(n), labels)

    def decoder_output(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        return self.decoder(latent, *self.condition(labels)).float()

    def condition(self, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What the networks of a conditional model are given beside their input."""
        return (self.label_embedding(labels),) if self.num_classes else ()
