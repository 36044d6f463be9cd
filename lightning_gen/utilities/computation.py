"""What a computation takes, counted without a device: floating-point operations, and the memory of its tensors."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Computation(TorchDispatchMode):
    """Counts what is computed within it, also with tensors that hold no data.

    - `flops`: operations of matrix products, convolutions and attention; an addition and a multiplication are two.
    - `now`, `peak`: bytes of the tensors that live, the `existing` ones included, and the most at a time. What kernels
      take for themselves, such as the workspace of a convolution, is not seen.
    """

    def __init__(self, existing: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.flops = self.now = self.peak = 0
        self._storages: set[int] = set()
        for tensor in existing:
            self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=result)
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._storages:
            return
        self._storages.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size
