"""Affine warps of images that differentiate any number of times, as penalties on a discriminator behind one need.

Sampling at given places is linear in the images: its derivative is its adjoint, whose derivative is the sampling again
(for R1 through https://arxiv.org/abs/2006.06676). PyTorch's `grid_sample` can be differentiated only once.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


class Sample(Function):
    """Images `(B, C, H, W)` at places `(B, H', W', 2)`, bilinear, reflected at their borders."""

    @staticmethod
    def forward(ctx, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return Scatter.apply(gradient, *ctx.saved_tensors, ctx.shape), None


class Scatter(Function):
    """The adjoint of `Sample`: the gradient by images of `shape`, of that by what was sampled."""

    @staticmethod
    def forward(ctx, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        images = gradient.new_zeros(1).expand(shape)  # only their shape counts where no gradient by the grid is wanted
        bilinear, reflection, align_corners = 0, 2, False
        return torch.ops.aten.grid_sampler_2d_backward(
            gradient.contiguous(), images, grid, bilinear, reflection, align_corners, [True, False]
        )[0]

    @staticmethod
    def backward(ctx, images: Tensor) -> tuple[Tensor, None, None]:
        return Sample.apply(images, *ctx.saved_tensors), None, None


def warp(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Each pixel at `x` shows what the image has at `linear @ x + shift`, in pixels right and down of its center.

    `linear` is `(B, 2, 2)`, `shift` `(B, 2)`; no gradients reach them.
    """
    return Sample.apply(images, sampling_grid(linear, shift, *images.shape[2:]).to(images.dtype))


def sampling_grid(linear: Tensor, shift: Tensor, height: int, width: int) -> Tensor:
    """The places in `grid_sample`'s coordinates, -1 to 1 along each side, `(B, H, W, 2)`."""
    maps = torch.cat([linear, shift[:, :, None]], 2).detach()
    maps = torch.stack([maps[:, 0] * (2 / width), maps[:, 1] * (2 / height)], 1)
    by_x, by_y, start = maps[:, None, None].unbind(-1)  # (B, 1, 1, 2) each
    x, y = (torch.arange(1 - n, n, 2, device=maps.device, dtype=maps.dtype) / 2 for n in (width, height))
    return torch.addcmul(by_y * y.view(-1, 1, 1) + start, by_x, x.view(-1, 1))
