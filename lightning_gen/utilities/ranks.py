"""The processes of a distributed run, as an evaluation sees them: one that decides, and all that share the work."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Group:
    """`rank` of `size` processes; a run by itself is a group of one."""

    def __init__(self) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.size = torch.distributed.get_world_size() if distributed else 1

    def from_first(self, function: Callable[[], T]) -> T:
        """What `function` gives in the first process, where alone it is called; an error there is raised in all."""
        if self.size == 1:
            return function()
        found = [None, None]
        if self.rank == 0:
            try:
                found[0] = function()
            except Exception as error:
                found[1] = error
        torch.distributed.broadcast_object_list(found, src=0)
        if found[1] is not None:
            raise found[1]
        return found[0]

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor
