"""The processes (ranks) of a distributed run: work for the first one, and all-reduced sums and means."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

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
