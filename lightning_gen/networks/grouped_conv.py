"""Grouped convolutions that differentiate any number of times in single calls.

PyTorch's second derivative of a grouped convolution loops over its groups (in R3GAN, https://arxiv.org/abs/2501.05441,
96 of them, and R1 and R2 take it at every step). But `<convolve(maps, weight), gradient>` is linear in each of its
three: the derivatives by one are given by the other two, so three operations are closed under differentiation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function


class Convolve(Function):
    """Maps `(B, C, H, W)` and weight `(C, C / groups, k, k)`, k odd, to maps of the same size."""

    @staticmethod
    def forward(ctx, maps: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.groups = groups
        return F.conv2d(maps, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, weight = ctx.saved_tensors
        by_maps, by_weight, _ = ctx.needs_input_grad
        return (
            ByMaps.apply(gradient, weight, ctx.groups) if by_maps else None,
            ByWeight.apply(maps, gradient, weight, ctx.groups) if by_weight else None,
            None,
        )


class ByMaps(Function):
    """The gradient by the maps, of the gradient by the output and the weight."""

    @staticmethod
    def forward(ctx, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.groups = groups
        return convolution_backward(gradient, gradient, weight, groups, 0)  # of the maps only the shape counts here

    @staticmethod
    def backward(ctx, maps: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gradient, weight = ctx.saved_tensors
        by_gradient, by_weight, _ = ctx.needs_input_grad
        return (
            Convolve.apply(maps, weight, ctx.groups) if by_gradient else None,
            ByWeight.apply(maps, gradient, weight, ctx.groups) if by_weight else None,
            None,
        )


class ByWeight(Function):
    """The gradient by the weight, of the maps and the gradient by the output; `like` gives the weight's shape."""

    @staticmethod
    def forward(ctx, maps: Tensor, gradient: Tensor, like: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(maps, gradient)
        ctx.groups = groups
        return convolution_backward(gradient, maps, like, groups, 1)

    @staticmethod
    def backward(ctx, weight: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, gradient = ctx.saved_tensors
        by_maps, by_gradient, *_ = ctx.needs_input_grad
        return (
            ByMaps.apply(gradient, weight, ctx.groups) if by_maps else None,
            Convolve.apply(maps, weight, ctx.groups) if by_gradient else None,
            None,
            None,
        )


def convolution_backward(gradient: Tensor, maps: Tensor, weight: Tensor, groups: int, by: int) -> Tensor:
    """The gradient by the maps (0) or by the weight (1) in one call."""
    padding = [weight.shape[-1] // 2] * 2
    wanted = [by == 0, by == 1, False]
    return torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, [1, 1], padding, [1, 1], False, [0, 0], groups, wanted
    )[by]


class GroupedConv2d(nn.Conv2d):
    """A convolution in `groups` that keeps channels and size, without bias."""

    def __init__(self, channels: int, kernel_size: int, groups: int):
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        weight, device = self.weight, maps.device.type
        if torch.is_autocast_enabled(device):  # within a Function it would be lost to the backward
            dtype = torch.get_autocast_dtype(device)
            maps, weight = maps.to(dtype), weight.to(dtype)
        return Convolve.apply(maps, weight, self.groups)
