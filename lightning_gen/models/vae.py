"""Variational autoencoder, https://arxiv.org/abs/1312.6114."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.label_embedding import conditioned
from lightning_gen.networks.latent_prior import LatentPrior, StandardNormalPrior


class VAE(LatentVariableModel):
    """Gaussian encoder, and a prior that is standard normal or learned.

    `encoder(image_shape, out_dim)`, `decoder(in_dim, image_shape)` and `prior(dim)` are completed here; both networks
    of a conditional VAE get the label embedding. Latents of `latent`, `encode` and `decode` are whitened by the prior,
    so that they are always standard normal.
    """

    averaged_parts = ("encoder", "decoder", "prior", "label_embedding")
    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent_dim: PositiveInt,
        prior: Callable[..., LatentPrior] = StandardNormalPrior,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        condition = {"condition_dim": self.label_dim} if self.num_classes else {}
        self.latent_dim = latent_dim
        self.prior = prior(dim=latent_dim)
        self.encoder = encoder(image_shape=self.image_shape, out_dim=2 * latent_dim, **condition)
        self.decoder = decoder(in_dim=latent_dim, image_shape=self.parameters_shape(image_shape), **condition)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Encode once, decode `samples` posterior samples."""
        posterior = self.posterior(images, labels)
        for _ in range(samples):
            noise = torch.randn_like(posterior.mean)
            latent = posterior.reparameterize(noise)
            log_prob = self.likelihood.log_prob(self.decoder_output(latent, labels), images)
            whitened = posterior.relative_to(self.prior(latent))
            yield Inference(log_prob=log_prob, mean=whitened.mean, log_var=whitened.log_var, noise=noise)

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> DiagonalNormal:
        """q(z | x), `(B, d)`."""
        return DiagonalNormal.of(conditioned(self.encoder, images, self.condition(labels)))

    def latent(self, n: int) -> Tensor:
        """Whitened latents `(n, latent_dim)` from N(0, I); `decode` maps them to the prior."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, `(B, latent_dim)`."""
        posterior = self.posterior(self.to_support(images), labels)
        return posterior.relative_to(self.prior(posterior.mean)).mean

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
