"""Building blocks of all networks: activations, normalizations, sizes of feature maps, conditions."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.utilities.autocast import without_autocast

Activation = Literal["relu", "leaky_relu", "silu", "gelu", "elu", "tanh", "sigmoid"]
Normalization = Literal["none", "batch", "group", "instance"]


def activation_layer(name: Activation) -> nn.Module:
    """The activation of this name; leaky_relu has a slope of 0.2, as usual in GANs."""
    layers = {
        "relu": nn.ReLU,
        "leaky_relu": lambda: nn.LeakyReLU(0.2),
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "elu": nn.ELU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
    }
    return layers[name]()


def normalization_layer(name: Normalization, channels: int) -> nn.Module:
    """The normalization of this name; groups have 8 channels, or all where 8 doesn't divide `channels`."""
    layers = {
        "none": nn.Identity,
        "batch": lambda: nn.BatchNorm2d(channels),
        "group": lambda: nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
    }
    return layers[name]()


def pyramid(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of feature maps from the image down, halved, rounding up, while the shorter side is 8 or more."""
    sizes = [(height, width)]
    while min(sizes[-1]) >= 8:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def widths(width: int, levels: int, largest: int) -> list[int]:
    """Numbers of channels from the image down, doubled from `width` at each level to at most `largest`."""
    return [min(width * 2**level, largest) for level in range(levels)]


def nearest(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps `(B, C, H, W)` resized to `size` by nearest neighbors, in their own dtype under autocast."""
    with without_autocast(maps.device):
        return F.interpolate(maps, size=size, mode="nearest")


def with_condition(inputs: Tensor, condition: Tensor | None) -> Tensor:
    """Concatenate a condition `(B, condition_dim)`, if given, to vectors, or as constant planes to images."""
    if condition is None:
        return inputs
    planes = condition.view(*condition.shape, *[1] * (inputs.ndim - 2)).expand(-1, -1, *inputs.shape[2:])
    return torch.cat([inputs, planes.to(inputs.dtype)], dim=1)
