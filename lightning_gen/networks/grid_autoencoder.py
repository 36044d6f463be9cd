"""Autoencoders of codes on grids: VQ-VAE's of one grid, https://arxiv.org/abs/1711.00937, and VQ-VAE-2's of two."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.capabilities import CodeGrid
from lightning_gen.networks.grid import grid_size
from lightning_gen.networks.layers import nearest
from lightning_gen.networks.quantizer import Quantized, Quantizer, joined, usage


class Coded(NamedTuple):
    """The decoder's `output` `(B, out_channels, H, W)`, and the `quantized` features of each grid."""

    output: Tensor
    quantized: list[Quantized]

    @property
    def terms(self) -> dict[str, Tensor]:
        """The quantizers' terms of the loss."""
        return joined(self.quantized)


class GridAutoencoder(nn.Module):
    """An encoder, a `quantizer` of each position of a grid, `stride` pixels apart, and a decoder.

    `encoder(image_shape, out_channels, stride)` and `decoder(in_channels, out_channels, stride)` are completed here;
    the decoder also gets `other_channels` of other grids.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_channels: int,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        quantizer: Quantizer,
        stride: int,
        other_channels: int = 0,
    ):
        super().__init__()
        self.image_shape, self.stride = image_shape, stride
        self.grids = [CodeGrid(quantizer.depth, *grid_size(image_shape, stride), quantizer.num_codes)]
        self.encoder = encoder(image_shape=image_shape, out_channels=quantizer.dim, stride=stride)
        self.quantizer = quantizer
        self.decoder = decoder(in_channels=quantizer.dim + other_channels, out_channels=out_channels, stride=stride)

    def forward(self, images: Tensor) -> Coded:
        quantized = self.quantize(images)
        return Coded(self.decode([each.latents for each in quantized]), quantized)

    def quantize(self, images: Tensor) -> list[Quantized]:
        """The quantized features of each grid."""
        return [self.quantizer(self.encoder(images))]

    def lookup(self, codes: list[Tensor]) -> list[Tensor]:
        """Latents `(B, D, h, w)` of the codes of each grid."""
        return [self.quantizer.lookup(codes[0])]

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Outputs `(B, out_channels, H, W)`, in float32, of the latents of each grid."""
        return self.decoder(latents[0]).float()

    def usage(self, quantized: list[Quantized]) -> dict[str, Tensor]:
        """How a batch uses the codes, the mean over grids (`networks.quantizer.usage`)."""
        of_grids = [usage(each.codes, grid.num_codes) for each, grid in zip(quantized, self.grids, strict=True)]
        return {name: torch.stack([each[name] for each in of_grids]).mean() for name in of_grids[0]}


class TwoGridAutoencoder(GridAutoencoder):
    """A coarse grid, of half the size, from the features of the fine one: https://arxiv.org/abs/1906.00446, 3.1.

    `top_encoder` and `top_decoder` are networks as `encoder` and `decoder`, between the features of the two grids. What
    the coarse codes tell of the fine features goes into the codes of the fine grid.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_channels: int,
        *,
        top_encoder: Callable[..., nn.Module],
        top_decoder: Callable[..., nn.Module],
        top_quantizer: Quantizer,
        **fine,
    ):
        super().__init__(image_shape, out_channels, other_channels=top_quantizer.dim, **fine)
        coarse = grid_size(image_shape, self.stride, coarser=2)
        dim, (_, *size, _) = self.quantizer.dim, self.grids[0]
        self.grids.insert(0, CodeGrid(top_quantizer.depth, *coarse, top_quantizer.num_codes))
        self.top_encoder = top_encoder(image_shape=(dim, *size), out_channels=top_quantizer.dim, stride=2)
        self.top_quantizer = top_quantizer
        self.top_decoder = top_decoder(in_channels=top_quantizer.dim, out_channels=dim, stride=2)
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

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Of the fine latents, and the coarse ones at their size."""
        coarse, fine = latents
        return self.decoder(torch.cat([fine, nearest(coarse, fine.shape[2:])], 1)).float()
