"""VQ-VAE-2, https://arxiv.org/abs/1906.00446, section 3.1: a coarse grid of codes, and a fine one given it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.capabilities import CodeGrid
from lightning_gen.models.vqvae import VQVAE
from lightning_gen.networks.grid import grid_size
from lightning_gen.networks.layers import nearest
from lightning_gen.networks.quantizer import Quantized, Quantizer


class VQVAE2(VQVAE):
    """The coarse grid, of half the size, is encoded from the features of the fine one: algorithm 1.

    `top_encoder` and `top_decoder` are networks as `encoder` and `decoder`, between the features of the two grids. What
    the coarse codes tell of the fine features goes into the codes of the fine grid.
    """

    averaged_parts = (*VQVAE.averaged_parts, "top_encoder", "top_decoder", "top_quantizer", "merge")
    compiled_parts = (*VQVAE.compiled_parts, "top_encoder", "top_decoder")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        top_encoder: Callable[..., nn.Module],
        top_decoder: Callable[..., nn.Module],
        top_quantizer: Quantizer,
        **vqvae,
    ):
        super().__init__(image_shape, num_classes, other_channels=top_quantizer.dim, **vqvae)
        dim, top_dim = self.quantizer.dim, top_quantizer.dim
        fine = (dim, *self.grids[0][1:3])
        height, width = grid_size(image_shape, vqvae["stride"], coarser=2)
        self.grids.insert(0, CodeGrid(top_quantizer.depth, height, width, top_quantizer.num_codes))
        self.top_quantizer = top_quantizer
        self.top_encoder = top_encoder(image_shape=fine, out_channels=top_dim, stride=2)
        self.top_decoder = top_decoder(in_channels=top_dim, out_channels=dim, stride=2)
        self.merge = nn.Conv2d(2 * dim, dim, 1)

    def quantize(self, images: Tensor) -> list[Quantized]:
        """The coarse grid, then the fine one."""
        features = self.encoder(images)
        top = self.top_quantizer(self.top_encoder(features))
        told = self.top_decoder(top.latents)
        return [top, self.quantizer(self.merge(torch.cat([features, told], 1)))]

    def lookup(self, codes: list[Tensor]) -> list[Tensor]:
        """Latents of both grids."""
        return [self.top_quantizer.lookup(codes[0]), self.quantizer.lookup(codes[1])]

    def decoder_input(self, latents: list[Tensor]) -> Tensor:
        """The fine latents, and the coarse ones at their size."""
        coarse, fine = latents
        return torch.cat([fine, nearest(coarse, fine.shape[2:])], 1)
