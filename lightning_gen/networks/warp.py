"""Affine warps of images that are differentiable any number of times, as gradient penalties through them require.

Sampling at given points is linear in the images: its derivative is its adjoint, whose derivative is the sampling again
(for R1 through https://arxiv.org/abs/2006.06676). PyTorch's `grid_sample` can be differentiated only once.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


class Sample(Function):
    """Bilinear samples of images `(B, C, H, W)` at points `(B, H', W', 2)`, with reflection padding."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient] = gradients
        return Scatter.apply(gradient, *ctx.saved_tensors, ctx.shape), None


class Scatter(Function):
    """The adjoint of `Sample`: from the gradient with respect to the samples to that of the images, of `shape`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        images = gradient.new_zeros(1).expand(shape)  # only their shape matters without a gradient of the grid
        bilinear, reflection, align_corners = 0, 2, False
        return torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), images, grid, bilinear, reflection, align_corners, [True, False]
        )[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        [images] = gradients
        return Sample.apply(images, *ctx.saved_tensors), None, None


def warp(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """The pixel at `x` takes the value at `linear @ x + shift`, in pixels right and down of the image's center.

    `linear` is `(B, 2, 2)`, `shift` `(B, 2)`; they get no gradients.
    """
    return Sample.apply(images, sampling_grid(linear, shift, *images.shape[2:]).to(images.dtype))


def sampling_grid(linear: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """The sampling points in `grid_sample`'s coordinates, -1 to 1 along each side, `(B, H, W, 2)`."""
    maps = torch.cat([linear, shift[:, :, None]], 2).detach()
    maps = torch.stack([maps[:, 0] * (2 / width), maps[:, 1] * (2 / height)], 1)
    by_x, by_y, start = maps[:, None, None].unbind(-1)  # (B, 1, 1, 2) each
    x, y = (torch.arange(1 - n, n, 2, device=maps.device, dtype=maps.dtype) / 2 for n in (width, height))
    return torch.addcmul(by_y * y.view(-1, 1, 1) + start, by_x, x.view(-1, 1))
