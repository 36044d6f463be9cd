"""StyleGAN2's networks, https://arxiv.org/abs/1912.04958: style-based generator, residual discriminator."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.layers import pyramid, widths, with_condition
from lightning_gen.networks.stylegan2_layers import (
    GAIN,
    SLOPE,
    EqualizedConv,
    EqualizedLinear,
    FilteredDownsample,
    FilteredUpsample,
    ModulatedConv,
    ModulatedUpConv,
    StyledConv,
    normalized,
    with_deviation,
)


class StyleGAN2Generator(nn.Module):
    """Latents `(B, in_dim)` to styles `(B, style_dim)`, and styles to maps of `image_shape`."""

    def __init__(
        self,
        in_dim: int,
        image_shape: tuple[int, int, int],
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        style_dim: PositiveInt,
        mapping_depth: PositiveInt,
    ):
        super().__init__()
        self.style_dim = style_dim
        self.mapping = Mapping(in_dim + condition_dim, style_dim, mapping_depth)
        self.synthesis = Synthesis(image_shape, style_dim, width, largest)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.synthesis(self.mapping(latent, condition))


class Mapping(nn.Module):
    """Latents and conditions, each normalized, to styles: fully connected layers of a low learning rate.

    https://arxiv.org/abs/1812.04948, section 2 and appendix C.
    """

    def __init__(self, in_dim: int, style_dim: int, depth: int):
        super().__init__()
        dims = [in_dim, *[style_dim] * depth]
        self.layers = nn.ModuleList(
            EqualizedLinear(dims[i], dims[i + 1], gain=GAIN, lr_multiplier=0.01) for i in range(depth)
        )

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        vectors = with_condition(normalized(latent), None if condition is None else normalized(condition))
        for layer in self.layers:
            vectors = F.leaky_relu(layer(vectors), SLOPE)
        return vectors


class Synthesis(nn.Module):
    """Styles `(B, num_layers, style_dim)`, or `(B, style_dim)` for all layers, to images, from a learned constant.

    Each level adds its image to the upsampled one of the level before (output skips, section 4.1).
    """

    def __init__(self, image_shape: tuple[int, int, int], style_dim: int, width: int, largest: int):
        super().__init__()
        out_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)[::-1]
        channels = widths(width, len(sizes), largest)[::-1]
        self.start = nn.Parameter(torch.randn(1, channels[0], *sizes[0]))
        self.levels = nn.ModuleList([Level(None, channels[0], style_dim, out_channels, sizes[0])])
        for before, after, size in zip(channels, channels[1:], sizes[1:], strict=False):
            self.levels.append(Level(before, after, style_dim, out_channels, size))
        self.num_layers = 2 * len(sizes)  # the last one is of the last image only

    def forward(self, styles: Tensor) -> Tensor:
        if styles.ndim == 2:
            styles = styles[:, None].expand(-1, self.num_layers, -1)
        layers = styles.unbind(1)
        first, *others = self.levels
        maps, image = first(self.start.expand(len(styles), -1, -1, -1), None, layers[:2])
        for number, level in enumerate(others):
            # The image of a level shares its style with the first convolution of the next level.
            maps, image = level(maps, image, layers[2 * number + 1 : 2 * number + 4])
        return image


class Level(nn.Module):
    """Maps of one size, and the sum of images up to it; no upsampling in the first level, where `before` is None."""

    def __init__(self, before: int | None, channels: int, style_dim: int, out_channels: int, size: tuple[int, int]):
        super().__init__()
        convs = [ModulatedConv(channels, channels, style_dim)]
        if before is not None:
            convs.insert(0, ModulatedUpConv(before, channels, style_dim, size))
        self.convs = nn.ModuleList(map(StyledConv, convs))
        self.to_image = ModulatedConv(channels, out_channels, style_dim, kernel_size=1, demodulate=False)
        self.image_bias = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.upsample = None if before is None else FilteredUpsample(size)

    def forward(self, maps: Tensor, image: Tensor | None, styles: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        for conv, style in zip(self.convs, styles, strict=False):
            maps = conv(maps, style)
        added = self.to_image(maps, styles[-1]).float() + self.image_bias
        if image is None or self.upsample is None:
            return maps, added
        return maps, added + self.upsample(image)


class StyleGAN2Discriminator(nn.Module):
    """Images `(B, C, H, W)` to vectors `(B, out_dim)`, with minibatch standard deviation in groups of `group_size`."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        group_size: PositiveInt,
    ):
        super().__init__()
        in_channels, height, image_width = image_shape
        sizes = pyramid(height, image_width)
        channels = widths(width, len(sizes), largest)
        last = channels[-1]
        self.from_image = EqualizedConv(in_channels + condition_dim, channels[0], 1, gain=GAIN)
        self.blocks = nn.Sequential(*map(HalvingBlock, channels, channels[1:]))
        self.group_size = group_size
        self.conv = EqualizedConv(last + 1, last, 3, gain=GAIN)
        self.hidden = EqualizedLinear(last * sizes[-1][0] * sizes[-1][1], last, gain=GAIN)
        self.head = EqualizedLinear(last, out_dim)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = F.leaky_relu(self.from_image(with_condition(images, condition)), SLOPE)
        maps = with_deviation(self.blocks(maps), self.group_size)
        maps = F.leaky_relu(self.conv(maps), SLOPE)
        return self.head(F.leaky_relu(self.hidden(maps.flatten(1)), SLOPE))


class HalvingBlock(nn.Module):
    """Residual block to half the size, of unit gain for the variance."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.down = FilteredDownsample()
        self.first = EqualizedConv(in_channels, in_channels, 3, gain=GAIN)
        self.second = EqualizedConv(in_channels, out_channels, 3, gain=GAIN / 2**0.5)
        self.skip = EqualizedConv(in_channels, out_channels, 1, gain=1 / 2**0.5, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.down(F.leaky_relu(self.first(maps), SLOPE))
        return F.leaky_relu(self.second(residual), SLOPE) + self.skip(self.down(maps))
