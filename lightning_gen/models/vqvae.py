"""VQ-VAE, https://arxiv.org/abs/1711.00937: an autoencoder whose latents are codes on a grid."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.capabilities import CodeGrid
from lightning_gen.errors import UserError
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.networks.grid import grid_size
from lightning_gen.networks.quantizer import Quantizer, usage


class VQVAE(LikelihoodModel):
    """A convolutional autoencoder with a `quantizer` of each position of a grid, `stride` pixels apart.

    `encoder(image_shape, out_channels, stride)` and `decoder(in_channels, out_channels, stride)` are completed here. It
    has no prior of its codes, so it samples nothing by itself: `CodePrior` learns one.
    """

    averaged_parts = ("encoder", "quantizer", "decoder")
    compiled_parts = ("encoder", "decoder")
    generates = False

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        quantizer: Quantizer,
        stride: PositiveInt,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        if self.num_classes:
            raise UserError("model.conditional=true: codes are those of all classes; their prior may be conditional")
        height, width = grid_size(image_shape, stride)
        self.grids = [CodeGrid(quantizer.depth, height, width, quantizer.num_codes)]
        self.quantizer = quantizer
        self.encoder = encoder(image_shape=self.image_shape, out_channels=quantizer.dim, stride=stride)
        channels, _, _ = self.parameters_shape(image_shape)
        self.decoder = decoder(in_channels=quantizer.dim, out_channels=channels, stride=stride)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood given the codes in nats, the quantizer's terms, and in training `usage`."""
        images = self.to_support(batch.images)
        latents, codes, terms = self.quantizer(self.encoder(images))
        nll = -self.likelihood.log_prob(self.decoder(latents).float(), images).mean()
        loss = torch.stack([nll, *terms.values()]).sum()
        in_use = usage(codes, self.quantizer.num_codes) if self.training else {}
        return {"loss": loss, "reconstruction": nll, **terms, **in_use}

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """UserError: there is no prior of the codes."""
        raise UserError("this model has no prior to sample codes from; train one: model=code_prior codes=CHECKPOINT")

    def codes(self, images: Tensor) -> list[Tensor]:
        """The codes `(B, depth, h, w)` of images in the support."""
        return [self.quantizer(self.encoder(images)).codes]

    def decoder_output(self, codes: list[Tensor]) -> Tensor:
        """Parameters of the likelihood given codes, `(B, P * C, H, W)`."""
        return self.decoder(self.quantizer.lookup(codes[0])).float()

    def decode_codes(self, codes: list[Tensor]) -> Tensor:
        """The expected image of codes, under the likelihood."""
        return self.likelihood.mean(self.decoder_output(codes))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the codes of images."""
        return self.decode_codes(self.codes(self.to_support(images)))
