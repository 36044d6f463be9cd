"""VQ-VAE, https://arxiv.org/abs/1711.00937: an autoencoder whose latents are codes on a grid."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.capabilities import CodeGrid
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.networks.grid_autoencoder import GridAutoencoder
from lightning_gen.networks.quantizer import Quantizer


class CodeModel(ImageGenerator):
    """Base of models with an `autoencoder` of codes and a `likelihood` of images given them.

    They have no prior of the codes, so they sample nothing by themselves: `CodePrior` learns one.
    """

    generates = False

    autoencoder: GridAutoencoder
    likelihood: Likelihood

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, **training):
        super().__init__(image_shape, num_classes, **training)
        if self.num_classes:
            raise UserError("model.conditional=true: codes are those of all classes; their prior may be conditional")

    @property
    def grids(self) -> list[CodeGrid]:
        """The grids of codes of an image, the coarsest first."""
        return self.autoencoder.grids

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """UserError: there is no prior of the codes."""
        raise UserError("this model has no prior to sample codes from; train one: model=code_prior codes=CHECKPOINT")

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the likelihood."""
        return self.likelihood.to_support(images)

    def codes(self, images: Tensor) -> list[Tensor]:
        """The codes `(B, depth, h, w)` of images in the support, for each grid."""
        return [each.codes for each in self.autoencoder.quantize(images)]

    def decoder_output(self, codes: list[Tensor]) -> Tensor:
        """Parameters of the likelihood given codes, `(B, P * C, H, W)`."""
        return self.autoencoder.decode(self.autoencoder.lookup(codes))

    def decode_codes(self, codes: list[Tensor]) -> Tensor:
        """The expected image of codes, under the likelihood."""
        return self.likelihood.mean(self.decoder_output(codes))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the codes of images."""
        return self.decode_codes(self.codes(self.to_support(images)))


class VQVAE(CodeModel, LikelihoodModel):
    """A convolutional autoencoder with a `quantizer` of each position of a grid, `stride` pixels apart.

    `autoencoder(image_shape, out_channels, encoder, decoder, quantizer, stride)` is of one grid, or of more.
    """

    averaged_parts = ("autoencoder",)
    compiled_parts = ("autoencoder",)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        quantizer: Quantizer,
        stride: PositiveInt,
        autoencoder: Callable[..., GridAutoencoder] = GridAutoencoder,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        channels, _, _ = self.parameters_shape(image_shape)
        parts = {"encoder": encoder, "decoder": decoder, "quantizer": quantizer, "stride": stride}
        self.autoencoder = autoencoder(self.image_shape, channels, **parts)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood given the codes in nats, the quantizer's terms, and in training `usage`."""
        images = self.to_support(batch.images)
        coded = self.autoencoder(images)
        nll = -self.likelihood.log_prob(coded.output, images).mean()
        loss = torch.stack([nll, *coded.terms.values()]).sum()
        in_use = self.autoencoder.usage(coded.quantized) if self.training else {}
        return {"loss": loss, "reconstruction": nll, **coded.terms, **in_use}
