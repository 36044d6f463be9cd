"""Grouped convolutions with fast derivatives of any order.

PyTorch's second derivative of a grouped convolution loops over its groups (96 in R3GAN, https://arxiv.org/abs/2501.05441,
where R1 and R2 need it at every step). But `<convolve(maps, weight), gradient>` is linear in all three arguments: its
derivative by one of them is a function of the other two, so three operations are closed under differentiation.
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
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        [gradient] = gradients
        maps, weight = ctx.saved_tensors
        by_maps, by_weight, _ = ctx.needs_input_grad
        return (
            ByMaps.apply(gradient, weight, ctx.groups) if by_maps else None,
            ByWeight.apply(maps, gradient, weight, ctx.groups) if by_weight else None,
            None,
        )


class ByMaps(Function):
    """The gradient by the maps, from the gradient by the output and the weight."""

    @staticmethod
    def forward(ctx, gradient: Tensor, weight: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.groups = groups
        return convolution_backward(gradient, gradient, weight, groups, 0)  # only the shape of the maps counts

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        [maps] = gradients
        gradient, weight = ctx.saved_tensors
        by_gradient, by_weight, _ = ctx.needs_input_grad
        return (
            Convolve.apply(maps, weight, ctx.groups) if by_gradient else None,
            ByWeight.apply(maps, gradient, weight, ctx.groups) if by_weight else None,
            None,
        )


class ByWeight(Function):
    """The gradient by the weight, from the maps and the gradient by the output; `like` has the weight's shape."""

    @staticmethod
    def forward(ctx, maps: Tensor, gradient: Tensor, like: Tensor, groups: int) -> Tensor:
        ctx.save_for_backward(maps, gradient)
        ctx.groups = groups
        return convolution_backward(gradient, maps, like, groups, 1)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        [weight] = gradients
        maps, gradient = ctx.saved_tensors
        by_maps, by_gradient, *_ = ctx.needs_input_grad
        return (
            ByMaps.apply(gradient, weight, ctx.groups) if by_maps else None,
            Convolve.apply(maps, weight, ctx.groups) if by_gradient else None,
            None,
            None,
        )


def convolution_backward(gradient: Tensor, maps: Tensor, weight: Tensor, groups: int, by: int) -> Tensor:
    """The gradient by the maps (`by` = 0) or by the weight (`by` = 1)."""
    padding = [weight.shape[-1] // 2] * 2
    wanted = [by == 0, by == 1, False]
    return torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, [1, 1], padding, [1, 1], False, [0, 0], groups, wanted
    )[by]


class GroupedConv2d(nn.Conv2d):
    """A grouped convolution, `(B, C, H, W)` to the same shape, without bias."""

    def __init__(self, channels: int, kernel_size: int, groups: int):
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        weight, device = self.weight, input.device.type
        if torch.is_autocast_enabled(device):  # a cast within a Function would not reach its backward
            dtype = torch.get_autocast_dtype(device)
            input, weight = input.to(dtype), weight.to(dtype)
        return Convolve.apply(input, weight, self.groups)
