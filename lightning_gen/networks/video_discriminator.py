"""MoCoGAN's video discriminator, https://arxiv.org/abs/1707.04993: convolutions over space and time."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.layers import Activation, activation_layer, pyramid, widths, with_condition


class VideoDiscriminator(nn.Module):
    """Videos `(B, T, C, H, W)` of any size to vectors `(B, out_dim)`; no normalization in the first layer.

    Each level halves the map and, from 4 frames on, the number of frames. Channels are doubled from `width` to at most
    `largest`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int, int],
        out_dim: int,
        condition_dim: int = 0,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        activation: Activation,
        normalization: Literal["none", "batch"],
    ):
        super().__init__()
        frames, channels, *size = image_shape
        channels += condition_dim
        sizes = pyramid(*size)
        layers: list[nn.Module] = []
        for level, out_channels in enumerate(widths(width, len(sizes) - 1, largest)):
            layers.append(Halve3d(channels, out_channels, in_time=frames >= 4))
            if level and normalization == "batch":
                layers.append(nn.BatchNorm3d(out_channels))
            layers.append(activation_layer(activation))
            channels, frames = out_channels, frames // 2 if frames >= 4 else frames
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels * frames * sizes[-1][0] * sizes[-1][1], out_dim)

    def forward(self, videos: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.body(with_condition(videos.transpose(1, 2), condition)).flatten(1))


class Halve3d(nn.Conv3d):
    """Maps `(B, C, T, H, W)` to half their height and width, rounded up; if `in_time`, to half their frames."""

    def __init__(self, in_channels: int, out_channels: int, in_time: bool):
        kernel, stride = ((4, 4, 4), (2, 2, 2)) if in_time else ((3, 4, 4), (1, 2, 2))
        super().__init__(in_channels, out_channels, kernel, stride, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        odd = input.shape[3] % 2, input.shape[4] % 2
        return super().forward(F.pad(input, (0, odd[1], 0, odd[0])) if any(odd) else input)
