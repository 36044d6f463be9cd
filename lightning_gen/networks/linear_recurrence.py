"""Linear recurrences h_t = a_t h_{t-1} + b_t by a scan: minGRU and minLSTM, https://arxiv.org/abs/2410.01201, 3."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class LinearRecurrence(Function):
    """Decays a_t and inputs b_t `(T, ...)` to values h_t `(T, ...)`, from h_{-1} = 0.

    The backward pass is the same recurrence in reverse, written by hand: autograd would store and revisit every step.
    The paper scans in log space; with decays in [0, 1] plain values are exact to rounding.
    """

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor) -> Tensor:
        values = scan(decay, inputs)
        ctx.save_for_backward(decay, values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        [gradient] = gradients
        decay, values = ctx.saved_tensors
        # dL/db_t = dL/dh_t + a_{t+1} dL/db_{t+1},  dL/da_t = dL/db_t h_{t-1}
        next_decay = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        input_gradient = scan(next_decay, gradient, reverse=True)
        decay_gradient = torch.cat([torch.zeros_like(values[:1]), input_gradient[1:] * values[:-1]])
        return decay_gradient, input_gradient


def linear_recurrence(decay: Tensor, inputs: Tensor) -> Tensor:
    """Values `(T, ...)` of the recurrence, differentiable once."""
    return LinearRecurrence.apply(decay, inputs)


def scan(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """The recurrence without autograd; `reverse` runs it from the last step to the first."""
    # Few large operations suit devices that wait between small ones, many small ones a CPU's cache.
    run = step_by_step if inputs.device.type == "cpu" else by_doubling
    return run(decay, inputs, reverse)


def step_by_step(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """T small operations, in place."""
    values = inputs.clone(memory_format=torch.contiguous_format)
    steps = list(zip(values.unbind(0), decay.unbind(0), strict=True))
    if reverse:
        steps.reverse()
    for (previous, _), (value, step_decay) in pairwise(steps):
        value.addcmul_(step_decay, previous)
    return values


def by_doubling(decay: Tensor, inputs: Tensor, reverse: bool = False) -> Tensor:
    """log2(T) operations on all steps: Hillis and Steele's scan of the maps h -> a h + b."""
    if reverse:
        return by_doubling(decay.flip(0), inputs.flip(0)).flip(0)
    distance = 1
    while distance < len(inputs):
        earlier, later = inputs[:-distance], inputs[distance:]
        inputs = torch.cat([inputs[:distance], torch.addcmul(later, decay[distance:], earlier)])
        decay = torch.cat([decay[:distance], decay[distance:] * decay[:-distance]])
        distance *= 2
    return inputs
