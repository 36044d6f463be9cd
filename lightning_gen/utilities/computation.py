"""What a computation takes, counted without a device: floating-point operations, and the memory of its tensors."""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Computation(TorchDispatchMode):
    """Counts what is computed within it, also with tensors that hold no data.

    - `flops`: operations of matrix products, convolutions and attention; an addition and a multiplication are two.
    - `now`, `peak`: bytes of the tensors that live, the `existing` ones included, and the most at a time, with what
      LSTM layers keep for their backward pass. What other kernels take for themselves, such as the workspace of a
      convolution, is not seen.
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
        if func is torch.ops.aten.mkldnn_rnn_layer.default and not result[-1].numel():  # no size without data
            self._count(result[-1], _lstm_workspace(args[0], result[0]))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor, size: int | None = None) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes() if size is None else size
        if key in self._storages:
            return
        self._storages.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


def _lstm_workspace(inputs: Tensor, outputs: Tensor) -> int:
    """Bytes that an LSTM layer on the CPU keeps for its backward pass; `(T, B, I)`, `(T, B, H)`.

    oneDNN keeps the four gates of each step and, at the input and the output of the layer, of each step and before the
    first, six states: those of the layer, of the step and of the cell, each with room for its gradient. Three are as
    wide as the inputs if those are wider. Paddings are left out; `rnn_conf_t` in src/cpu/rnn/rnn_utils.hpp of oneDNN.
    """
    steps, batch, width = outputs.shape
    gates, states = 4 * steps * width, 2 * (steps + 1) * 3 * (width + max(width, inputs.shape[-1]))
    return batch * (gates + states) * outputs.element_size()
