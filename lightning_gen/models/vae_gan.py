"""VAE-GAN, https://arxiv.org/abs/1512.09300: a VAE whose likelihood is of features that a discriminator learns."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat, PositiveFloat
from lightning_gen.errors import UserError
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.losses.penalties import Player, Round
from lightning_gen.models.gan import GAN, WEIGHT_LAYERS
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.label_embedding import conditioned
from lightning_gen.networks.players import Generator


class EncoderGenerator(Generator):
    """A generator with an encoder to a diagonal normal posterior of its latents."""

    def __init__(
        self, latent_dim: int, image_shape: tuple[int, ...], *, encoder: Callable[..., nn.Module], **sizes: Any
    ):
        super().__init__(latent_dim=latent_dim, image_shape=image_shape, **sizes)
        condition = {"condition_dim": sizes["label_dim"]} if sizes["num_classes"] else {}
        self.encoder = encoder(image_shape=image_shape, out_dim=2 * latent_dim, **condition)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> DiagonalNormal:
        """q(z | x), `(B, latent_dim)`."""
        return DiagonalNormal.of(conditioned(self.encoder, images, self.embedding(labels)))


class VAEGAN(GAN):
    """The discriminator tells real images from generated ones, half of which are reconstructions and half samples.

    Encoder and generator also maximize the bound of a VAE, whose likelihood is normal, of unit variance, of the inputs
    of the discriminator's last layer. `feature_weight` weights it for the generator against deceiving the
    discriminator, gamma in the paper's algorithm 1; `beta` the KL divergence.
    """

    compiled_parts = ("generator",)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        generator: Callable[..., nn.Module],
        feature_weight: PositiveFloat,
        beta: NonNegativeFloat,
        **gan,
    ):
        pair = partial(EncoderGenerator, encoder=encoder, decoder=generator)
        super().__init__(image_shape, num_classes, generator=pair, **gan)
        self.feature_weight = feature_weight
        self.beta = beta
        self.inferred: tuple[DiagonalNormal, Tensor] | None = None  # of the current part of the batch
        self._inputs: list[Tensor] = []  # of the discriminator's last layer
        _last_layer(self.discriminator).register_forward_pre_hook(lambda _, inputs: self._inputs.append(inputs[0]))

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        """The generator with its encoder."""
        sizes = {"num_classes": self.num_classes, "label_dim": label_dim, "output": output}
        return decoder(self.latent_dim, self.image_shape, **sizes)

    def discriminate(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Outputs of the discriminator; the features are dropped."""
        outputs = super().discriminate(images, labels)
        self._inputs.clear()
        return outputs

    def features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The inputs of the discriminator's last layer, `(B, d)`, of images that are not augmented."""
        self._inputs.clear()
        self.discriminator(images, labels)
        return self._inputs.pop().float().flatten(1)

    def posterior(self, images: Tensor, labels: Tensor | None = None) -> DiagonalNormal:
        """q(z | x), `(B, latent_dim)`."""
        assert isinstance(self.generator, EncoderGenerator)
        return self.generator.encode(images, labels)

    def forward_generator(self, batch: Batch) -> Round:
        """A round with reconstructions of every other image, and samples in place of the others."""
        labels = batch.labels if self.num_classes else None
        posterior = self.posterior(batch.images, labels)
        latent = posterior.reparameterize(posterior.noise())
        self.inferred = posterior, latent
        drawn, even = self.latent(len(latent)), torch.arange(len(latent), device=latent.device) % 2 == 0
        # The encoder learns nothing from the discriminator's verdict: section 2.3.1.
        mixed = torch.where(even[:, None], latent.detach(), drawn)
        return Round(batch.images, self.generator(mixed, labels), mixed, labels)

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        """The adversarial term and those of the bound: algorithm 1."""
        return super().generator_terms(round) | self._bound_terms(round)

    def _bound_terms(self, round: Round) -> dict[str, Tensor]:
        assert self.inferred is not None
        posterior, latent = self.inferred
        weight = self.feature_weight
        # The encoder's gradient is that of the bound, whatever the weight for the generator.
        latent = latent / weight + (latent - latent / weight).detach()
        with torch.no_grad():
            expected = self.features(round.real, round.labels)
        found = self.features(self.generator(latent, round.labels), round.labels)
        squared = 0.5 * (found - expected).square().sum(1).mean()  # eqs. 7-8, without the normalizer
        return {"features": weight * squared, "kl": self.beta * kl_from_standard_normal(*posterior).mean()}

    def objective(self, player: Player, round: Round) -> tuple[Tensor, dict[str, Tensor]]:
        """As that of all GANs."""
        found = super().objective(player, round)
        if player == "generator":
            self.inferred = None  # its graph
        return found

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior mean, `(B, latent_dim)`."""
        return self.posterior(images, labels if self.num_classes else None).mean

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior mean."""
        return self.decode(self.encode(images, labels), labels)


def _last_layer(discriminator: nn.Module) -> nn.Module:
    """The last layer with weights of the discriminator's network; UserError for one with fewer than two."""
    network: Any = getattr(discriminator, "encoder", discriminator)
    layers = [m for m in network.modules() if isinstance(m, WEIGHT_LAYERS) and not isinstance(m, nn.Embedding)]
    if len(layers) < 2:
        raise UserError("model.discriminator: has no hidden layer, whose features are compared; give it more depth")
    return layers[-1]
