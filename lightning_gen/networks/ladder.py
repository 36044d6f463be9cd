"""Networks of ladder VAEs: latents of a vector, then of few maps, from coarse to fine, https://arxiv.org/abs/1602.02282.

They are those of `gated_encoder` and `gated_decoder`, which are quick on a CPU, with latents at each of their sizes.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gen.networks.conv import Gated, Patches, SubPixels, Upsample, map_sizes
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.image_conv import through
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.layers import widths
from lightning_gen.networks.top_down import TopDown, of_maps

LARGEST = 512  # most channels of maps


class LadderEncoder(nn.Module):
    """Images `(B, C, H, W)` to the features of each level: `(B, vector, 1, 1)`, then maps from coarse to fine.

    The finest maps are smaller than the image by `patch` and have `width` channels; each halving doubles them.
    """

    def __init__(self, image_shape: tuple[int, int, int], condition_dim: int, width: int, vector: int, patch: int):
        super().__init__()
        sizes = map_sizes(*image_shape[1:], patch)[1:]
        channels = widths(width, len(sizes), LARGEST)
        down: list[nn.Module] = [Patches(image_shape[0] + condition_dim, width, patch)]
        down += [nn.Conv2d(n, m, 3, stride=2, padding=1) for n, m in pairwise(channels)]
        self.levels = LayerList(
            nn.Sequential(each, nn.SiLU(), Gated(n)) for each, n in zip(down, channels, strict=True)
        )
        self.top = nn.Sequential(nn.Conv2d(channels[-1], vector, sizes[-1]), nn.SiLU())

    def forward(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        finest, *others = self.levels
        features = [through(finest, images, condition)]
        for level in others:
            features.append(level(features[-1]))
        return [self.top(features[-1]), *features[::-1]]


class LadderDecoder(TopDown):
    """Mirrors the encoder: layers of `latent_dim` values of the vector, and of `latent_channels` maps of each size."""

    def __init__(
        self,
        out_shape: tuple[int, int, int],
        condition_dim: int,
        *,
        width: int,
        vector: int,
        patch: int,
        layers: int,
        latent_dim: int,
        latent_channels: int,
    ):
        super().__init__()
        sizes = [(1, 1), *map_sizes(*out_shape[1:], patch)[:0:-1]]
        channels = [vector, *widths(width, len(sizes) - 1, LARGEST)[::-1]]
        latents = [latent_dim, *[latent_channels] * (len(sizes) - 1)]
        self.layers = layers
        self.latent_shapes = [(n, *size) for n, size in zip(latents, sizes, strict=True) for _ in range(layers)]
        self.start = nn.Parameter(torch.zeros(1, vector, 1, 1))
        self.enter = nn.ModuleList([nn.Conv2d(vector + condition_dim, vector, 1)])
        for level, (n, m) in enumerate(pairwise(channels), start=1):
            larger = nn.ConvTranspose2d(n, m, sizes[1]) if level == 1 else Upsample(n, m, sizes[level])
            self.enter.append(nn.Sequential(nn.SiLU(), larger, nn.SiLU()))
        self.blocks = nn.ModuleList(
            LadderLayer(n, latent, kernel=1 if size == (1, 1) else 3)
            for n, latent, size in zip(channels, latents, sizes, strict=True)
            for _ in range(layers)
        )
        self.out = SubPixels(channels[-1], out_shape[0], patch, (out_shape[1], out_shape[2]))

    def entered(self, level: int, maps: Tensor) -> Tensor:
        return self.enter[level](maps)

    def output(self, maps: Tensor) -> Tensor:
        return self.out(maps)


class LadderLayer(nn.Module):
    """One layer of latents: its prior from the maps above, its posterior from these and the image's features."""

    def __init__(self, channels: int, latent_channels: int, kernel: int):
        super().__init__()
        self.prior = nn.Conv2d(channels, 2 * latent_channels, 1)
        for parameter in self.prior.parameters():
            nn.init.zeros_(parameter)  # a standard normal at first
        hidden = nn.Conv2d(2 * channels, channels, 1)
        self.posterior = nn.Sequential(hidden, nn.SiLU(), nn.Conv2d(channels, 2 * latent_channels, 1))
        self.latents = nn.Conv2d(latent_channels, channels, 1)
        self.last = Gated(channels, kernel=kernel)

    def forward(
        self, maps: Tensor, features: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, DiagonalNormal, DiagonalNormal]:
        """The maps below, the distribution that was sampled and the prior."""
        prior = of_maps(self.prior(maps))
        sampled = prior if features is None else of_maps(self.posterior(torch.cat([maps, features], dim=1)))
        return self.last(maps + self.latents(sampled.reparameterize(noise))), sampled, prior
