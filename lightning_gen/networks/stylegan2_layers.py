"""StyleGAN2's layers: equalized learning rates, modulated convolutions, FIR resampling.

https://arxiv.org/abs/1912.04958; equalized learning rates from https://arxiv.org/abs/1710.10196, section 4.1. Gains are
folded into weights and biases, which saves a pass over the maps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2)  # of leaky ReLUs: keeps the variance
SLOPE = 0.2


class EqualizedLinear(nn.Linear):
    """`gain` times a linear layer with weights from N(0, 1), scaled at runtime (equalized learning rate).

    `lr_multiplier` is the learning rate relative to other layers.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = 1.0, lr_multiplier: float = 1.0, bias: float = 0.0):
        super().__init__(inputs, outputs)
        nn.init.normal_(self.weight, std=1 / lr_multiplier)
        nn.init.constant_(self.bias, bias / lr_multiplier)
        self.weight_scale = gain * lr_multiplier / math.sqrt(inputs)
        self.bias_scale = gain * lr_multiplier

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.weight_scale, self.bias * self.bias_scale)


class EqualizedConv(nn.Conv2d):
    """`gain` times a "same" convolution with weights from N(0, 1), scaled at runtime (equalized learning rate)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, gain: float = 1.0, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.weight_scale = gain / math.sqrt(in_channels * kernel_size**2)
        self.gain = gain

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(input, self.weight * self.weight_scale, bias, padding=self.padding)


class Filter(nn.Module):
    """Base of resampling layers: the separable low-pass filter [1, 3, 3, 1], applied to each channel."""

    kernel: Tensor  # (4, 4)

    def __init__(self):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(taps, taps), persistent=False)

    def per_channel(self, maps: Tensor) -> tuple[Tensor, int]:
        """The weight of a depthwise convolution with the filter, and its number of groups."""
        channels = maps.shape[1]
        return self.kernel.expand(channels, 1, 4, 4), channels


class FilteredUpsample(Filter):
    """Maps to twice their size, cropped to `size` at the lower right; borders are replicated."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        kernel, channels = self.per_channel(maps)
        padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
        doubled = F.conv_transpose2d(padded, 4 * kernel, stride=2, padding=3, groups=channels)
        return doubled[:, :, : self.size[0], : self.size[1]]


class FilteredDownsample(Filter):
    """Maps to half their size, rounded up; borders are replicated."""

    def forward(self, maps: Tensor) -> Tensor:
        kernel, channels = self.per_channel(maps)
        odd = maps.shape[2] % 2, maps.shape[3] % 2
        padded = F.pad(maps, (1, 1 + odd[1], 1, 1 + odd[0]), mode="replicate")
        return F.conv2d(padded, kernel, stride=2, groups=channels)


class ModulatedConv(nn.Module):
    """A convolution with weights modulated by styles per input channel, and demodulated per output channel.

    Section 2.2. Maps are scaled before and after a convolution with shared weights, which is equivalent to weights per
    image, and needs no grouped convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, kernel_size: int = 3, *, demodulate: bool = True
    ):
        super().__init__()
        self.affine = EqualizedLinear(style_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.weight_scale = 1 / math.sqrt(in_channels * kernel_size**2)
        self.demodulate = demodulate

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        scales = self.affine(style)  # (B, in_channels)
        weight = self.weight * self.weight_scale
        maps = self.convolve(maps * scales.to(maps.dtype)[:, :, None, None], weight)  # eq. 1
        if not self.demodulate:
            return maps
        squared = scales.square() @ weight.square().sum((2, 3)).t()
        # Autocast computes roots in float32, which would make all later maps of the level float32 too.
        return maps * (squared + 1e-8).rsqrt().to(maps.dtype)[:, :, None, None]  # eq. 3

    def convolve(self, maps: Tensor, weight: Tensor) -> Tensor:
        """The convolution with weights `(out_channels, in_channels, k, k)`."""
        return F.conv2d(maps, weight, padding=weight.shape[-1] // 2)


class ModulatedUpConv(ModulatedConv):
    """A modulated convolution of upsampled maps, to `size`: a transposed convolution, and the filter, which commute."""

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, size: tuple[int, int]):
        super().__init__(in_channels, out_channels, style_dim)
        self.size = size
        self.filter = Filter()

    def convolve(self, maps: Tensor, weight: Tensor) -> Tensor:
        doubled = F.conv_transpose2d(maps, weight.transpose(0, 1), stride=2)  # (B, out_channels, 2 H + 1, 2 W + 1)
        kernel, channels = self.filter.per_channel(doubled)
        return F.conv2d(doubled, 4 * kernel, padding=1, groups=channels)[:, :, : self.size[0], : self.size[1]]


class StyledConv(nn.Module):
    """A modulated convolution, noise of learned strength, and a leaky ReLU."""

    def __init__(self, conv: ModulatedConv):
        super().__init__()
        self.conv = conv
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(conv.weight.shape[0], 1, 1))

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        maps = self.conv(maps, style)
        noise = torch.randn(len(maps), 1, *maps.shape[2:], device=maps.device, dtype=maps.dtype)
        return GAIN * F.leaky_relu(maps + self.noise_strength * noise + self.bias.to(maps.dtype), SLOPE)


def normalized(vectors: Tensor) -> Tensor:
    """Vectors `(B, d)` scaled to a mean square of one."""
    return vectors * (vectors.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def with_deviation(maps: Tensor, group_size: int) -> Tensor:
    """Maps with one more channel: the standard deviation over groups of the batch, averaged over all features.

    https://arxiv.org/abs/1710.10196, section 3. The size of groups is the largest divisor of the batch size up to
    `group_size`.
    """
    batch, _, height, width = maps.shape
    size = max(n for n in range(1, group_size + 1) if batch % n == 0)
    groups = maps.float().unflatten(0, (size, batch // size))
    variance = (groups - groups.mean(0)).square().mean(0)  # torch.var is slow here
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))  # (B / size,)
    plane = deviation.repeat(size)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([maps, plane.to(maps.dtype)], dim=1)
