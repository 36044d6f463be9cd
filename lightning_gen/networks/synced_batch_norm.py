"""Batch normalization by the statistics of the batch of all ranks, on any device, twice differentiable."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.utilities.ranks import Ranks, gather_from_ranks


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
    dims = [dim for dim in range(input.ndim) if dim != 1]
    per_channel = [1, -1, *[1] * (input.ndim - 2)]
    values = input.to(torch.promote_types(input.dtype, torch.float32))
    mean, variance = _moments(values, dims, per_channel)
    _track(running_mean, mean, momentum)
    count = input.numel() // input.shape[1] * Ranks().size
    _track(running_var, variance * (count / max(1, count - 1)), momentum)
    scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return torch.addcmul(shift.view(per_channel), values, scale.view(per_channel)).to(input.dtype)


def _moments(values: Tensor, dims: list[int], per_channel: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and variance over all ranks `(C,)`, by the formula of Chan, Golub and LeVeque for equal counts.

    https://doi.org/10.2307/2683386. The difference of mean squares would cancel.
    """
    mean = values.mean(dims)
    variance = (values - mean.view(per_channel)).square().mean(dims)
    means, variances = gather_from_ranks(torch.stack([mean, variance])).unbind(1)  # (W, C) each
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


@torch.no_grad()
def _track(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.lerp_(value.to(running.dtype), momentum)
