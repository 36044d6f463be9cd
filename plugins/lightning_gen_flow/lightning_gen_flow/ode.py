"""Ordinary differential equations: steps, solvers, and the change of density along solutions."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (x, time of shape ()) -> dx/dtime, of x's shape
Step = Callable[[Field, Tensor, Tensor, Tensor], Tensor]

MAX_EXACT = 16  # dimensions of x up to which the trace is computed exactly, not estimated


def euler(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """First order, one evaluation."""
    return x + (end - start) * field(x, start)


def heun(field: Field, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Second order, two evaluations: the mean of the slopes at both ends."""
    slope = field(x, start)
    ahead = field(x + (end - start) * slope, end)
    return x + (end - start) * (slope + ahead) / 2


STEPS: dict[str, Step] = {"euler": euler, "heun": heun}
EVALUATIONS = {"euler": 1, "heun": 2}  # of the field, per step


def solve(field: Field, x: Tensor, times: Tensor, step: Step, last: Step | None = None) -> Tensor:
    """x at the end of `times`, given x at their start; `last` replaces the `step` of the last interval."""
    final = len(times) - 2
    for index in range(final + 1):
        make = last if last is not None and index == final else step
        x = make(field, x, times[index], times[index + 1])
    return x


def solve_with_divergence(field: Field, x: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """x at the end of `times`, and `(B,)` the integral of the field's divergence along the way, by Heun's method.

    The instantaneous change of variables, https://arxiv.org/abs/1806.07366, eq. 8: log p(x) at the start is log p
    at the end plus this integral. The divergence is exact for x of few dimensions, else Hutchinson's estimate with one
    vector of signs for all times, https://arxiv.org/abs/1810.01367, eq. 7.
    """
    total = x.new_zeros(len(x))
    signs = None if x[0].numel() <= MAX_EXACT else torch.randint(0, 2, x.shape, device=x.device).to(x.dtype) * 2 - 1
    for start, end in itertools.pairwise(times):
        slope, divergence = _with_divergence(field, x, start, signs)
        ahead, divergence_ahead = _with_divergence(field, x + (end - start) * slope, end, signs)
        x = x + (end - start) * (slope + ahead) / 2
        total = total + (end - start) * (divergence + divergence_ahead) / 2
    return x, total


def _with_divergence(field: Field, x: Tensor, time: Tensor, signs: Tensor | None) -> tuple[Tensor, Tensor]:
    """The field at x, and its divergence `(B,)`."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        slope = field(x, time)
        divergence = _trace(slope, x) if signs is None else _estimated_trace(slope, x, signs)
    return slope.detach(), divergence


def _estimated_trace(slope: Tensor, x: Tensor, signs: Tensor) -> Tensor:
    (product,) = torch.autograd.grad(slope, x, signs)
    return (product * signs).flatten(1).sum(1)


def _trace(slope: Tensor, x: Tensor) -> Tensor:
    flat = slope.flatten(1)
    rows = [torch.autograd.grad(flat[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(flat.shape[1])]
    return torch.stack([row[:, i] for i, row in enumerate(rows)]).sum(0)
