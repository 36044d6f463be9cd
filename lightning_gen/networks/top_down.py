"""Networks of hierarchical VAEs: features from fine to coarse, latents from coarse to fine (2011.10650, figure 3)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gen.networks.conv import Upsample
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.image_conv import ImageConv2d
from lightning_gen.networks.layers import nearest, pyramid, widths, with_condition

Pair = tuple[DiagonalNormal, DiagonalNormal]  # posterior and prior of a layer, (B, C, H, W) each


def levels(image_shape: tuple[int, int, int], width: int, largest: int) -> list[tuple[int, tuple[int, int]]]:
    """Channels and size of the feature maps, from half the image's size down; the last is 1x1."""
    sizes = [*pyramid(*image_shape[1:])[1:], (1, 1)]
    return list(zip(widths(width, len(sizes), largest), sizes, strict=True))


class Block(nn.Module):
    """Maps plus a bottleneck of them, whose share shrinks with the number of layers: section 3.3, for stable depth."""

    def __init__(self, channels: int, layers: int):
        super().__init__()
        inner = max(1, channels // 2)
        last = nn.Conv2d(inner, channels, 1)
        self.residual = nn.Sequential(
            *(nn.SiLU(), nn.Conv2d(channels, inner, 1)),
            *(nn.SiLU(), nn.Conv2d(inner, inner, 3, padding=1)),
            *(nn.SiLU(), last),
        )
        with torch.no_grad():
            last.weight *= layers**-0.5

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.residual(maps)


class BottomUp(nn.Module):
    """Images `(B, C, H, W)` to the features of each level, from 1x1 up to half the image's size."""

    def __init__(self, image_shape: tuple[int, int, int], condition_dim: int, width: int, largest: int, depth: int):
        super().__init__()
        self.levels = levels(image_shape, width, largest)
        channels = [image_shape[0] + condition_dim, *(channels for channels, _ in self.levels)]
        self.down = nn.ModuleList(ImageConv2d(n, m, 3, stride=2, padding=1) for n, m in pairwise(channels))
        total = depth * len(self.levels)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(channels, total) for _ in range(depth))) for channels, _ in self.levels
        )

    def forward(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        maps, features = images, []
        for (_, size), down, blocks in zip(self.levels, self.down, self.blocks, strict=True):
            maps = down(maps) if features else down(images, condition)
            maps = blocks(maps.mean((2, 3), keepdim=True) if size == (1, 1) else maps)
            features.append(maps)
        return features[::-1]


class TopDown(nn.Module):
    """Base of decoders: noise of all layers `(B, d)` to parameters of the likelihood, through their latents.

    A subclass sets the attributes, and implements `entered` and `output`.
    """

    latent_shapes: list[tuple[int, int, int]]  # of all layers, from coarse to fine
    layers: int  # of each level
    start: nn.Parameter  # the coarsest maps, (1, C, 1, 1)
    blocks: nn.ModuleList  # a `TopDownBlock` or the like for each layer

    def entered(self, level: int, maps: Tensor) -> Tensor:
        """The maps with which a level begins, from those of the level above."""
        raise NotImplementedError

    def output(self, maps: Tensor) -> Tensor:
        """Parameters of the likelihood, from the maps of the last layer."""
        raise NotImplementedError

    def forward(
        self, noise: Tensor, condition: Tensor | None, features: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Pair]]:
        """Also posterior and prior of each layer, which is sampled from the posterior if there are `features`."""
        maps, pairs = with_condition(self.start.expand(len(noise), -1, -1, -1), condition), []
        noises = noise.split([math.prod(shape) for shape in self.latent_shapes], dim=1)
        for number, (layer, shape) in enumerate(zip(self.blocks, self.latent_shapes, strict=True)):
            level, begins = divmod(number, self.layers)
            if not begins:
                maps = self.entered(level, maps)
            seen = None if features is None else features[level]
            maps, *pair = layer(maps, seen, noises[number].unflatten(1, shape))
            pairs.append(tuple(pair))
        return self.output(maps).float(), pairs


class VeryDeepDecoder(TopDown):
    """Levels at 1x1 and at each size of feature maps, whose layers have residual blocks."""

    def __init__(
        self,
        out_shape: tuple[int, int, int],
        condition_dim: int,
        width: int,
        largest: int,
        layers: int,
        latent_channels: int,
    ):
        super().__init__()
        self.levels = levels(out_shape, width, largest)[::-1]
        self.layers = layers
        self.latent_shapes = [(latent_channels, *size) for _, size in self.levels for _ in range(layers)]
        channels = [channels for channels, _ in self.levels]
        self.start = nn.Parameter(torch.zeros(1, channels[0], 1, 1))
        pairs = pairwise([channels[0] + condition_dim, *channels])
        self.enter = nn.ModuleList(nn.Conv2d(n, m, 1) for n, m in pairs)
        self.blocks = nn.ModuleList(
            TopDownBlock(width, latent_channels, layers * len(channels)) for width in channels for _ in range(layers)
        )
        self.half_size = ((out_shape[1] + 1) // 2, (out_shape[2] + 1) // 2)
        self.out = nn.Sequential(nn.SiLU(), Upsample(channels[-1], out_shape[0], (out_shape[1], out_shape[2])))

    def entered(self, level: int, maps: Tensor) -> Tensor:
        return nearest(self.enter[level](maps), self.levels[level][1])

    def output(self, maps: Tensor) -> Tensor:
        # images too small to halve come from 1x1
        return self.out(maps if maps.shape[2:] == self.half_size else nearest(maps, self.half_size))


class TopDownBlock(nn.Module):
    """One layer of latents: its prior from the maps above, its posterior from these and the image's features."""

    def __init__(self, channels: int, latent_channels: int, layers: int):
        super().__init__()
        to_prior = nn.Conv2d(channels, 2 * latent_channels + channels, 1)
        nn.init.zeros_(to_prior.weight)  # nearly a standard normal at first
        self.prior = nn.Sequential(Block(channels, layers), nn.SiLU(), to_prior)
        self.posterior = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            *(Block(channels, layers), nn.SiLU(), nn.Conv2d(channels, 2 * latent_channels, 1)),
        )
        self.latents = nn.Conv2d(latent_channels, channels, 1)
        nn.init.xavier_uniform_(self.latents.weight, gain=1 / math.sqrt(layers))
        self.last = Block(channels, layers)
        self.latent_channels = latent_channels

    def forward(
        self, maps: Tensor, features: Tensor | None, noise: Tensor
    ) -> tuple[Tensor, DiagonalNormal, DiagonalNormal]:
        """The maps below, the distribution that was sampled and the prior."""
        normal, change = self.prior(maps).tensor_split([2 * self.latent_channels], dim=1)
        prior = of_maps(normal)
        sampled = prior if features is None else of_maps(self.posterior(torch.cat([maps, features], dim=1)))
        maps = maps + change + self.latents(sampled.reparameterize(noise))
        return self.last(maps), sampled, prior


def of_maps(output: Tensor) -> DiagonalNormal:
    """Maps `(B, 2 * C, H, W)` as a distribution of maps `(B, C, H, W)`."""
    return DiagonalNormal(*(part.movedim(-1, 1) for part in DiagonalNormal.of(output.movedim(1, -1))))
