"""VQ-VAE, https://arxiv.org/abs/1711.00937: an autoencoder whose latents are codes on a grid."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.capabilities import CodeGrid
from lightning_gen.errors import UserError
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.networks.grid import grid_size
from lightning_gen.networks.quantizer import Quantized, Quantizer, joined, usage


class VQVAE(LikelihoodModel):
    """A convolutional autoencoder with a `quantizer` of each position of a grid, `stride` pixels apart.

    `encoder(image_shape, out_channels, stride)` and `decoder(in_channels, out_channels, stride)` are completed here. It
    has no prior of its codes, so it samples nothing by itself: `CodePrior` learns one. A subclass with more than one
    grid overrides `quantize` and `lookup`; `other_channels` of the decoder's input are its own.
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
        other_channels: NonNegativeInt = 0,
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
        self.decoder = decoder(in_channels=quantizer.dim + other_channels, out_channels=channels, stride=stride)

    # To override, for several grids.

    def quantize(self, images: Tensor) -> list[Quantized]:
        """The quantized features of each grid, for images in the support."""
        return [self.quantizer(self.encoder(images))]

    def lookup(self, codes: list[Tensor]) -> list[Tensor]:
        """Latents `(B, D, h, w)` of the codes of each grid."""
        return [self.quantizer.lookup(codes[0])]

    def decoder_input(self, latents: list[Tensor]) -> Tensor:
        """What the decoder gets of the latents of each grid."""
        return latents[0]

    # Training, codes and images.

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood given the codes in nats, the quantizer's terms, and in training `usage`."""
        images = self.to_support(batch.images)
        quantized = self.quantize(images)
        parameters = self.decoder(self.decoder_input([each.latents for each in quantized])).float()
        nll = -self.likelihood.log_prob(parameters, images).mean()
        terms = joined(quantized)
        loss = torch.stack([nll, *terms.values()]).sum()
        in_use = self._usage(quantized) if self.training else {}
        return {"loss": loss, "reconstruction": nll, **terms, **in_use}

    def _usage(self, quantized: list[Quantized]) -> dict[str, Tensor]:
        """The means over grids of `usage`."""
        of_grids = [usage(each.codes, grid.num_codes) for each, grid in zip(quantized, self.grids, strict=True)]
        return {name: torch.stack([each[name] for each in of_grids]).mean() for name in of_grids[0]}

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """UserError: there is no prior of the codes."""
        raise UserError("this model has no prior to sample codes from; train one: model=code_prior codes=CHECKPOINT")

    def codes(self, images: Tensor) -> list[Tensor]:
        """The codes `(B, depth, h, w)` of images in the support."""
        return [each.codes for each in self.quantize(images)]

    def decoder_output(self, codes: list[Tensor]) -> Tensor:
        """Parameters of the likelihood given codes, `(B, P * C, H, W)`."""
        return self.decoder(self.decoder_input(self.lookup(codes))).float()

    def decode_codes(self, codes: list[Tensor]) -> Tensor:
        """The expected image of codes, under the likelihood."""
        return self.likelihood.mean(self.decoder_output(codes))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the codes of images."""
        return self.decode_codes(self.codes(self.to_support(images)))
