"""Tensors of a device that is pretended: each wraps a CPU tensor, and says that it is on `gpu:0`.

Importing this module registers the device in the process, for good, as one that is not available; nothing else of
PyTorch is changed. It must be imported before the first backward pass of the process, at which autograd makes a thread
for each device. PyTorch has a key for devices of others (PrivateUse1), so autograd, autocast, optimizers and
`Module.to` take it for an accelerator.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.utilities.compat import register_pretended_device, why_no_pretended_device

DEVICE_TYPE = "gpu"
WHY_NOT = why_no_pretended_device()  # None where it works

if WHY_NOT is None:
    register_pretended_device(DEVICE_TYPE, lambda: PretendedTensor.available)


class PretendedTensor(Tensor):
    """The CPU tensor `wrapped` as one on the device; `dispatch(func, args, kwargs)` runs its operations."""

    wrapped: Tensor
    dispatch: ClassVar[Callable[..., Any]]
    available: ClassVar[bool] = False  # within the context of a device

    @staticmethod
    def __new__(cls, wrapped: Tensor) -> "PretendedTensor":
        # The only way to a tensor that has a shape and a device but no memory: torch's docs on extending it use it too.
        return Tensor._make_wrapper_subclass(
            cls,
            wrapped.size(),
            strides=wrapped.stride(),
            storage_offset=wrapped.storage_offset(),
            dtype=wrapped.dtype,
            device=torch.device(DEVICE_TYPE, 0),
        )

    def __init__(self, wrapped: Tensor):
        self.wrapped = wrapped

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendedTensor({self.wrapped})"

    def __reduce_ex__(self, proto: Any) -> Any:
        """In files it is a plain tensor, as those of a GPU are when they are loaded onto the CPU."""
        return self.wrapped.__reduce_ex__(proto)

    @classmethod
    # pyrefly: ignore[bad-override]  # torch's annotation leaves the function out
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return PretendedTensor.dispatch(func, args, kwargs or {})


def leaves(value: Any) -> Iterator[Any]:
    """What is in nested lists, tuples and dictionaries: arguments and results of operations."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(tuple(value.values()))
    else:
        yield value


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The same nesting of the results of `function`."""
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(function, item) for item in value])
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    return function(value)
