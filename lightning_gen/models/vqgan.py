"""VQGAN, https://arxiv.org/abs/2012.09841, section 3.1: an autoencoder of codes that also deceives a discriminator."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt, PositiveInt
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.losses.penalties import Player, Round
from lightning_gen.models.gan import GAN
from lightning_gen.models.vqvae import CodeModel
from lightning_gen.networks.grid_autoencoder import Coded, GridAutoencoder
from lightning_gen.networks.quantizer import Quantizer
from lightning_gen.utilities.ranks import mean_over_ranks

LARGEST = 1e4  # adaptive weight, as in the authors' code


class VQGAN(CodeModel, GAN):
    """A GAN whose generated images are reconstructions of the real ones, by an autoencoder as that of `VQVAE`.

    Its loss is the negative log-likelihood, the quantizer's terms, and from `adversarial_from` images on the
    adversarial loss times `adversarial_weight`, scaled so that both gradients are alike at the decoder's last layer.
    """

    averaged_parts = ("generator",)
    sharded_parts = ("discriminator",)  # the adversarial weight needs the whole last weights of the generator
    validation_loss = True  # that of the autoencoder alone
    latent = decode = None  # pyrefly: ignore[bad-override]  # unlike other GANs it has no latent vectors

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        quantizer: Quantizer,
        stride: PositiveInt,
        likelihood: Likelihood,
        adversarial_weight: NonNegativeFloat,
        adversarial_from: NonNegativeInt,
        autoencoder: Callable[..., GridAutoencoder] = GridAutoencoder,
        **gan,
    ):
        channels = image_shape[0] * likelihood.parameters_per_value
        parts = {"encoder": encoder, "decoder": decoder, "quantizer": quantizer, "stride": stride}
        generator = partial(autoencoder, tuple(image_shape), channels, **parts)
        unused = {"latent_dim": 1, "label_dim": 0, "output": "none"}  # it has no latents, and the likelihood's range
        super().__init__(image_shape, num_classes, generator=generator, **unused, **gan)
        self.likelihood = likelihood
        self.adversarial_weight, self.adversarial_from = adversarial_weight, adversarial_from
        self.coded: Coded | None = None  # of the current part of the batch

    @property
    def autoencoder(self) -> GridAutoencoder:  # pyrefly: ignore[bad-override]  # which averages may replace
        """The generator."""
        assert isinstance(self.generator, GridAutoencoder)
        return self.generator

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        """The autoencoder."""
        return decoder()

    def forward_generator(self, batch: Batch) -> Round:
        """A round with the reconstructions of the batch."""
        images = self.to_support(batch.images)
        self.coded = self.generator(images)
        return Round(images, self.likelihood.mean(self.coded.output), images, None)

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        """The terms of the autoencoder and the scaled adversarial loss: eqs. 6 and 7."""
        terms = self._reconstruction_terms(round.real)
        adversarial = super().generator_terms(round)["generator"]
        scale = self._adaptive_weight(terms["reconstruction"], adversarial)
        weight = self.scheduled("adversarial_weight", lambda: self._weight)
        return terms | {"generator": weight * scale * adversarial}

    @property
    def _weight(self) -> float:
        return self.adversarial_weight if self.images_seen >= self.adversarial_from else 0.0

    def _reconstruction_terms(self, images: Tensor) -> dict[str, Tensor]:
        assert self.coded is not None
        return {"reconstruction": -self.likelihood.log_prob(self.coded.output, images).mean()} | self.coded.terms

    def _adaptive_weight(self, reconstruction: Tensor, adversarial: Tensor) -> Tensor:
        """The quotient of the norms of both gradients with respect to the decoder's last weights: eq. 7."""
        last = [parameter for parameter in self.autoencoder.decoder.parameters() if parameter.ndim > 1][-1]
        norms = [
            mean_over_ranks(torch.autograd.grad(loss, last, retain_graph=True)[0]).norm()
            for loss in (reconstruction, adversarial)
        ]
        return (norms[0] / (norms[1] + 1e-4)).clamp(max=LARGEST).detach()

    def objective(self, player: Player, round: Round) -> tuple[Tensor, dict[str, Tensor]]:
        """As that of all GANs; of the autoencoder the use of its codes is logged, too."""
        total, logs = super().objective(player, round)
        if player == "discriminator":
            return total, logs
        assert self.coded is not None
        logs |= self.autoencoder.usage(self.coded.quantized)
        self.coded = None  # its graph
        return total, logs

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the autoencoder, of which `loss` is the sum, and the discriminator's."""
        round_ = self.forward_generator(batch)
        terms = self._reconstruction_terms(round_.real)
        judged = {f"{side}_output": self.discriminate(getattr(round_, side), None) for side in ("real", "fake")}
        loss = torch.stack(list(terms.values())).sum()
        return {"loss": loss, **terms} | self.discriminator_terms(round_._replace(**judged))
