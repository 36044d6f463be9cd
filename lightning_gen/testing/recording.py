"""A list of operations that can be run again: what a CUDA graph does, on the pretended device."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_gen.testing.pretended_tensor import leaves


class Recording:
    """The operations of a function, made by `PretendedDevice.record`; `replay` runs them on the same memory.

    As with a CUDA graph, a replay runs no Python: numbers are those of the recording, so are the host's decisions, and
    memory that the function allocated has the same place each time. So state that is made anew, a learning rate that is
    a float, or a schedule that is read by the function end in other values than those of a step without a graph; random
    numbers are drawn from the default generator at each replay.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Any, tuple, dict[str, Any], list[Tensor]]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}  # by address
        self._made: dict[int, Tensor] = {}  # tensors with memory of their own, by address
        self._generator = torch.get_rng_state()

    def __len__(self) -> int:
        return len(self._calls)

    def keep(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Keep the values that the operation is about to overwrite, once for each memory."""
        for tensor in _written(func, args, kwargs):
            storage = tensor.untyped_storage()
            if storage.nbytes() and storage.data_ptr() not in self._before.keys() | self._made.keys():
                self._before[storage.data_ptr()] = storage, storage.clone()

    def add(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> None:
        """Add an operation that has run."""
        results = [each for each in leaves(result) if isinstance(each, Tensor)]
        given = {each.untyped_storage().data_ptr() for each in leaves((args, kwargs)) if isinstance(each, Tensor)}
        for tensor in results:
            if tensor.untyped_storage().data_ptr() not in given:
                self._made[tensor.untyped_storage().data_ptr()] = tensor
        self._calls.append((func, args, kwargs, results))

    def finish(self) -> None:
        """Undo what recording has done to memory, which capturing a CUDA graph leaves alone; results are NaN so far."""
        for storage, values in self._before.values():
            storage.copy_(values)
        for tensor in self._made.values():
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
        torch.set_rng_state(self._generator)
        self._before.clear()

    @torch.no_grad()
    def replay(self) -> None:
        """Run all operations again; their results have the places that they had in the recording."""
        for func, args, kwargs, results in self._calls:
            values = [each for each in leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
            for target, value in zip(results, values, strict=True):
                if target.untyped_storage().data_ptr() != value.untyped_storage().data_ptr():
                    target.copy_(value)


def _written(func: Any, args: tuple, kwargs: dict[str, Any]) -> Iterator[Tensor]:
    if func._schema.name == "aten::native_batch_norm":  # its schema does not say so
        yield from (each for each in args[3:5] if isinstance(each, Tensor))
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from (each for each in leaves(value) if isinstance(each, Tensor))
