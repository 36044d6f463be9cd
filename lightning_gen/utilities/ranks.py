"""The processes (ranks) of a distributed run: work for the first one, and all-reduced sums and means."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from lightning_gen.utilities.compat import copy_each
from lightning_gen.utilities.renames import renamed

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process is one of a group."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def num_ranks() -> int:
    """The number of processes of the run."""
    return torch.distributed.get_world_size() if is_distributed() else 1


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum over all ranks, in place; unchanged in a run of one process."""
    if is_distributed():
        torch.distributed.all_reduce(tensor)
    return tensor


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """Average over all ranks, in place; unchanged in a run of one process."""
    if is_distributed():
        torch.distributed.all_reduce(tensor)
        tensor /= torch.distributed.get_world_size()
    return tensor


def std_over_ranks(tensor: Tensor) -> Tensor:
    """Standard deviation, without correction, of the values of all ranks, which have equally many; no gradient."""
    if not is_distributed():
        return tensor.std(correction=0)
    moments = torch.stack([tensor.mean(), tensor.var(correction=0)])
    means, variances = gather_from_ranks(moments.detach()).unbind(1)
    return (variances + (means - means.mean()).square()).mean().sqrt()


class _SumOverRanks(torch.autograd.Function):
    """An all-reduce whose gradient, and the gradient of that, is one again."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_over_ranks(tensor.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _SumOverRanks.apply(gradients[0].contiguous())


def add_over_ranks(tensor: Tensor) -> Tensor:
    """Sum over all ranks, differentiable any number of times."""
    return _SumOverRanks.apply(tensor) if is_distributed() else tensor


def gather_from_ranks(tensor: Tensor) -> Tensor:
    """The tensors of all ranks, `(W, ...)`, differentiable any number of times; all of one shape."""
    ranks = Ranks()
    mine = torch.arange(ranks.size, device=tensor.device) == ranks.rank
    places = tensor * mine.view(-1, *[1] * tensor.ndim)
    return add_over_ranks(places)


@torch.no_grad()
def broadcast_from_first(tensors: Iterable[Tensor]) -> None:
    """Give all ranks the first one's values, in place, by one broadcast for each dtype."""
    if not is_distributed():
        return
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for group in by_dtype.values():
        flat = torch.cat([tensor.detach().flatten() for tensor in group])
        torch.distributed.broadcast(flat, src=0)
        parts = flat.split([tensor.numel() for tensor in group])
        copy_each(group, [part.view(tensor.shape) for part, tensor in zip(parts, group, strict=True)])


class Ranks:
    """This process as number `rank` of `size`; 0 of 1 in a run of one process."""

    def __init__(self) -> None:
        self.rank = torch.distributed.get_rank() if is_distributed() else 0
        self.size = num_ranks()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def run_on_first(self, function: Callable[[], T]) -> T:
        """Call `function` on the first rank only, and return its result, or raise its exception, on all of them."""
        if self.size == 1:
            return function()
        outcome: tuple[list[T], Exception | None] = [], None
        if self.is_first:
            try:
                outcome = [function()], None
            except Exception as error:
                outcome = [], error
        received = [outcome]
        torch.distributed.broadcast_object_list(received, src=0)
        results, failure = received[0]
        if failure is not None:
            raise failure
        return results[0]

    # The old names, until 0.2.
    from_first = run_on_first
    summed = staticmethod(sum_over_ranks)


__getattr__ = renamed(__name__)
