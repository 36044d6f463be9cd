"""Gradient-boosted regression trees, https://doi.org/10.1214/aos/1013203451, that tell how much each input is used.

The trees are oblivious: all nodes of a level ask the same question, so that a level is one histogram.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

BINS = 32  # of an input, with equally many rows each; questions are asked at their borders
ROUNDS, DEPTH, RATE = 50, 3, 0.2


class Question(NamedTuple):
    """Whether the bin of an input is above `bin`."""

    input: int
    bin: int


class BoostedTrees:
    """Trees fitted to `targets` `(N, m)` of `inputs` `(N, d)` by squared error.

    `importance` `(d,)` is the share of each input in the decrease of the error; zeros if nothing could be learned.
    """

    def __init__(self, inputs: Tensor, targets: Tensor):
        steps = torch.arange(1, BINS, device=inputs.device, dtype=inputs.dtype) / BINS
        self.borders = inputs.quantile(steps, 0).T.contiguous()  # (d, BINS - 1)
        self.mean = targets.mean(0)
        self.trees: list[tuple[list[Question], Tensor]] = []
        gains = torch.zeros(inputs.shape[1], dtype=torch.float64)
        bins, residual = self._bins(inputs), targets - self.mean
        for _ in range(ROUNDS):
            leaves, questions = torch.zeros_like(bins[:, 0]), []
            for _ in range(DEPTH):
                question, gain = _best_question(bins, leaves, len(questions), residual)
                gains[question.input] += gain
                leaves = _next_leaves(bins, leaves, question)
                questions.append(question)
            count = torch.bincount(leaves, minlength=2**DEPTH).clamp(min=1)
            sums = residual.new_zeros(2**DEPTH, residual.shape[1]).index_add_(0, leaves, residual)
            values = RATE * sums / count[:, None]
            residual = residual - values[leaves]
            self.trees.append((questions, values))
        self.importance = gains / gains.sum().clamp(min=torch.finfo(torch.float64).tiny)

    def predict(self, inputs: Tensor) -> Tensor:
        """The targets of inputs `(N, d)`, `(N, m)`."""
        bins, predicted = self._bins(inputs), self.mean.expand(len(inputs), -1)
        for questions, values in self.trees:
            leaves = torch.zeros_like(bins[:, 0])
            for question in questions:
                leaves = _next_leaves(bins, leaves, question)
            predicted = predicted + values[leaves]
        return predicted

    def _bins(self, inputs: Tensor) -> Tensor:
        return torch.searchsorted(self.borders, inputs.T.contiguous()).T  # (N, d)


def _next_leaves(bins: Tensor, leaves: Tensor, question: Question) -> Tensor:
    return 2 * leaves + (bins[:, question.input] > question.bin)


def _best_question(bins: Tensor, leaves: Tensor, level: int, residual: Tensor) -> tuple[Question, float]:
    """The question that lowers the squared error most over all leaves of a level, and by how much."""
    inputs, sizes = bins.shape[1], (2**level, bins.shape[1], BINS)
    places = ((leaves[:, None] * inputs + torch.arange(inputs, device=bins.device)) * BINS + bins).flatten()
    values = torch.cat([residual, torch.ones_like(residual[:, :1])], 1).repeat_interleave(inputs, 0)
    table = residual.new_zeros(math.prod(sizes), values.shape[1]).index_add_(0, places, values)
    below = table.view(*sizes, -1).cumsum(2)
    whole = below[:, :, -1:]
    scores = (_score(below) + _score(whole - below) - _score(whole)).sum(0)[:, :-1]  # (d, BINS - 1)
    best = int(scores.argmax())
    return Question(*divmod(best, BINS - 1)), float(scores.flatten()[best])


def _score(sums: Tensor) -> Tensor:
    """The decrease of the squared error by means in place of 0, given sums of targets and the number of rows."""
    return sums[..., :-1].square().sum(-1) / sums[..., -1].clamp(min=1)
