"""Variational autoencoder, https://arxiv.org/abs/1312.6114."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import StandardNormalPrior


class VAE(LatentVariableModel):
    """Gaussian encoder, and a prior that is standard normal or learned.

    `encoder(image_shape, out_dim)`, `decoder(in_dim, image_shape)` and `prior(dim)` are completed here. A conditional
    VAE gives the first two the label's embedding: the encoder as planes, the decoder beside the latent.
    `latent`, `encode` and `decode` are in units of the prior: whatever it is, latents are standard normal.
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
        prior: Callable[..., nn.Module] = StandardNormalPrior,
        **bound,
    ):
        super().__init__(image_shape, num_classes, **bound)
        channels, height, width = image_shape
        condition = {"condition_dim": self.label_dim} if self.num_classes else {}
        self.latent_dim = latent_dim
        self.prior = prior(dim=latent_dim)
        self.encoder = encoder(image_shape=self.image_shape, out_dim=2 * latent_dim, **condition)
        output_shape = (channels * self.likelihood.parameters_per_value, height, width)
        self.decoder = decoder(in_dim=latent_dim, image_shape=output_shape, **condition)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Encode once, decode `samples` draws."""
        posterior = self.posterior(images, labels)
        for _ in range(samples):
            noise = torch.randn_like(posterior.mean)
            latent = posterior.draw(noise)
            log_prob = self.likelihood.log_prob(self.decoder_output(latent, labels), images)
            yield Inference(log_prob, *posterior.relative_to(self.prior(latent)), noise)

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> DiagonalNormal:
        """q(z | x), `(B, d)`."""
        return DiagonalNormal.of(self.encoder(images, *self.condition(labels)))

    def latent(self, n: int) -> Tensor:
        """Draw `(n, latent_dim)` from the prior."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, `(B, latent_dim)`."""
        posterior = self.posterior(self.observe(images), labels)
        return posterior.relative_to(self.prior(posterior.mean)).mean

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected image under the likelihood."""
        if labels is None:
            labels = self.draw_labels(len(latent))
        return self.likelihood.mean(self.decoder_output(self.prior.draw(latent), labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior mean."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Expected images of latents from the prior."""
        return self.decode(self.latent(n), labels)

    def decoder_output(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        return self.decoder(latent, *self.condition(labels)).float()
