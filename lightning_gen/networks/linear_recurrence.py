"""h_t = a_t h_{t-1} + b_t for all t: the scan of minGRU, minLSTM and their kin, https://arxiv.org/abs/2410.01201, 3."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class LinearRecurrence(Function):
    """Decays and inputs `(T, ...)` to values `(T, ...)`, from h_{-1} = 0.

    The backward pass is the same recurrence in reverse, written by hand: autograd would keep and revisit every step.
    The paper scans logarithms; decays in [0, 1] need none, and plain values are exact to rounding.
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor) -> Tensor:
        values = scan(decay, inputs)
        ctx.save_for_backward(decay, values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        decay, values = ctx.saved_tensors
        # What reaches b_t: its own gradient and, through a_{t+1}, what reaches b_{t+1}.
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        of_inputs = scan(later, gradient, reverse=True)
        of_decay = torch.cat([torch.zeros_like(values[:1]), of_inputs[1:] * values[:-1]])
        return of_decay, of_inputs


def linear_recurrence(decay: Tensor, inputs: Tensor) -> Tensor:
    """Values `(T, ...)` of the recurrence, differentiable once."""
    return LinearRecurrence.apply(decay, inputs)


def scan(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """The recurrence without a graph; `reverse` runs it from the last step to the first."""
    # Few large operations are for devices that wait between small ones, many small ones for a CPU's cache.
    run = step_by_step if inputs.device.type == "cpu" else by_doubling
    return run(decay, inputs, reverse)


def step_by_step(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """T small operations, in place."""
    values = inputs.clone(memory_format=torch.contiguous_format)
    steps = list(zip(values.unbind(0), decay.unbind(0), strict=True))
    if reverse:
        steps.reverse()
    for (before, _), (value, own) in pairwise(steps):
        value.addcmul_(own, before)
    return values


def by_doubling(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """log2(T) operations on everything: Hillis and Steele's scan of the maps h -> a h + b."""
    if reverse:
        return by_doubling(decay.flip(0), inputs.flip(0)).flip(0)
    distance = 1
    while distance < len(inputs):
        earlier, own = inputs[:-distance], inputs[distance:]
        inputs = torch.cat([inputs[:distance], torch.addcmul(own, decay[distance:], earlier)])
        decay = torch.cat([decay[:distance], decay[distance:] * decay[:-distance]])
        distance *= 2
    return inputs
