"""Batch normalization by the statistics of the batch of all ranks, on any device, twice differentiable."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.utilities.compat import fixed_batch_norm_backward
from lightning_gen.utilities.ranks import Ranks, add_over_ranks, gather_from_ranks


def synced_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` of the inputs `(B, C, ...)` of all ranks together; in training all of them must have equal shapes.

    Unlike nn.SyncBatchNorm it runs on a CPU, and has the second derivatives that gradient penalties need.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    values = input.to(torch.promote_types(input.dtype, torch.float32))
    mean, variance = _moments(values.detach())
    _track(running_mean, mean, momentum)
    count = _count(values)
    _track(running_var, variance * (count / max(1, count - 1)), momentum)
    weight = values.new_ones(values.shape[1]) if weight is None else weight
    bias = values.new_zeros(values.shape[1]) if bias is None else bias
    return _Normalize.apply(values, weight, bias, mean, variance, eps).to(input.dtype)


class _Normalize(torch.autograd.Function):
    """Faster than autograd, with a smaller graph; the backward is made of functions that have derivatives."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.eps = eps
        return F.batch_norm(values, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        [gradient] = gradients
        values, weight, mean, variance = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return *_gradients(gradient, values, weight, mean, variance, ctx.eps), None, None, None
        mean, variance = _moments(values)  # to be differentiated again, also through the statistics
        dims, per_channel = _layout(values)
        centered = values - mean.view(per_channel)
        deviation = (variance + ctx.eps).rsqrt()
        sums = torch.stack([gradient.sum(dims), (gradient * centered).sum(dims) * deviation])
        of_bias, of_weight = add_over_ranks(sums) / _count(values)
        scale = weight * deviation
        shifted = torch.addcmul((-scale * of_bias).view(per_channel), gradient, scale.view(per_channel))
        of_values = torch.addcmul(shifted, centered, (-scale * of_weight * deviation).view(per_channel))
        return of_values, sums[1], sums[0], None, None, None


def _gradients(
    gradient: Tensor, values: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by values, weight and bias that need none of their own: with fixed statistics by PyTorch's kernel."""
    of_values, of_weight, of_bias = fixed_batch_norm_backward(gradient, values, weight, mean, variance, eps)
    by_weight, by_bias = add_over_ranks(torch.stack([of_weight, of_bias])) / _count(values)
    _, per_channel = _layout(values)
    deviation = (variance + eps).rsqrt()
    slope = -weight * deviation.square() * by_weight
    shift = -weight * deviation * by_bias - slope * mean
    return of_values.add_(torch.addcmul(shift.view(per_channel), values, slope.view(per_channel))), of_weight, of_bias


def _layout(values: Tensor) -> tuple[list[int], list[int]]:
    """The dimensions that are normalized, and the shape of a number per channel that broadcasts."""
    return [dim for dim in range(values.ndim) if dim != 1], [1, -1, *[1] * (values.ndim - 2)]


def _count(values: Tensor) -> int:
    """Values per channel, on all ranks."""
    return values.numel() // values.shape[1] * Ranks().size


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over all ranks `(C,)`, by the formula of Chan, Golub and LeVeque for equal counts.

    https://doi.org/10.2307/2683386. The difference of mean squares would cancel.
    """
    dims, per_channel = _layout(values)
    mean = values.mean(dims)
    variance = (values - mean.view(per_channel)).square().mean(dims)
    means, variances = gather_from_ranks(torch.stack([mean, variance])).unbind(1)  # (W, C) each
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


@torch.no_grad()
def _track(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.lerp_(value.to(running.dtype), momentum)
