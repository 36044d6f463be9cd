"""A GPU that is pretended, on a machine without one: finds what a real one would refuse, wait for, or be slowed by.

Each tensor on `gpu:0` wraps a CPU tensor, so values, branches and gradients are real, and every operation of it

- raises where a GPU would: tensors of two devices, a generator of another device, what cuDNN can't do;
- is noted within `trace`: with its Python numbers, the memory that it writes, and whether the host waits for it
  (`.item()`, copies to the CPU, boolean masks, copies of memory that is not pinned);
- can be recorded and replayed, as a CUDA graph is: `record`.

Not covered: CUDA's kernels themselves (values are those of the CPU), its memory, several devices, and what asks for the
name "cuda": pinned memory of batches, free and used memory, CUDA's generators (seeding goes to the CPU's, from which
the device draws).
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # in torch's notes on extending it, under this name

from lightning_gen.testing import pretended_rnn
from lightning_gen.testing.pretended_call import NOT_DETERMINISTIC, Call, Operation
from lightning_gen.testing.pretended_tensor import DEVICE_TYPE, WHY_NOT, PretendedTensor, mapped
from lightning_gen.testing.recording import Recording

HERE = str(Path(__file__).parent)


class Trace(list[Operation]):
    """The operations of a piece of code, in their order; `waits` counts what the host waits for, with its line."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    @property
    def kernels(self) -> int:
        """The number of operations that run something on the device: no views, no allocations."""
        return sum(bool(operation.written) for operation in self)

    @property
    def not_deterministic(self) -> list[str]:
        """What `trainer.deterministic=true` would refuse on CUDA."""
        return sorted({f"{op.name} at {op.line}" for op in self if op.name.split(".")[1] in NOT_DETERMINISTIC})

    def bytes_written(self, chosen: Callable[[torch.Size], bool] = bool) -> Counter[torch.dtype]:
        """Bytes written by type, of the tensors of the `chosen` shapes (all that have one)."""
        written: Counter[torch.dtype] = Counter()
        for dtype, shape in (each for operation in self for each in operation.written):
            if chosen(shape):
                written[dtype] += shape.numel() * dtype.itemsize
        return written


class PretendedDevice(TorchDispatchMode):
    """The device within its context.

    RuntimeError where torch can't register one (`WHY_NOT` says why), or where it was registered too late.
    """

    device = torch.device("cpu") if WHY_NOT else torch.device(DEVICE_TYPE, 0)

    def __init__(self) -> None:
        super().__init__()
        if WHY_NOT is not None:
            raise RuntimeError(WHY_NOT)
        self._trace: Trace | None = None
        self._recording: Recording | None = None
        self._pinned: dict[int, Tensor] = {}  # by address

    def __enter__(self) -> "PretendedDevice":
        PretendedTensor.dispatch, PretendedTensor.available = self.run, True
        _check_autograd()
        self._patches = ExitStack()
        for change in _patches():
            self._patches.enter_context(change)
        super().__enter__()
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        super().__exit__(exc_type, exc_val, exc_tb)
        PretendedTensor.available = False
        self._patches.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.run(func, args, kwargs or {})

    @contextmanager
    def trace(self) -> Iterator[Trace]:
        """Note the operations within it."""
        outer, self._trace = self._trace, Trace()
        try:
            yield self._trace
        finally:
            self._trace = outer

    def record(self, function: Callable[[], Any]) -> Recording:
        """Record what `function` does on the device, without doing it; RuntimeError if the host would wait for it."""
        self._recording = recording = Recording()
        try:
            function()
        finally:
            self._recording = None
            recording.finish()
        return recording

    def run(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run one operation, on the device or not."""
        call = Call(func, args, kwargs)
        if not call.concerns_device:
            return self._on_cpu(call)
        call.check()
        self._note_waits(call)
        args, kwargs = call.on_cpu()
        if self._recording is not None:
            self._recording.keep(func, args, kwargs)
        result = func(*args, **kwargs)
        if self._recording is not None:
            self._recording.add(func, args, kwargs, result)
        if self._trace is not None:
            self._trace.append(call.noted(result, line_of_product()))
        return self._wrapped(call, result) if call.on_device else result

    def _on_cpu(self, call: Call) -> Any:
        """Memory can only be pinned where there is a GPU: here it is noted as such."""
        if call.name == "is_pinned":
            return call.args[0].untyped_storage().data_ptr() in self._pinned
        if call.name == "_pin_memory":
            return self._pin(call.args[0].clone())
        if call.kwargs.get("pin_memory"):
            return self._pin(call.func(*call.args, **{**call.kwargs, "pin_memory": False}))
        return call.func(*call.args, **call.kwargs)

    def _pin(self, tensor: Tensor) -> Tensor:
        self._pinned[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def _note_waits(self, call: Call) -> None:
        pinned = bool(call.others) and call.others[0].untyped_storage().data_ptr() in self._pinned
        for wait in call.waits(pinned):
            if self._recording is not None:
                raise RuntimeError(f"operation not permitted when stream is capturing: {call.name} ({wait})")
            if self._trace is not None:
                self._trace.waits[f"{wait} at {line_of_product()}"] += 1

    @staticmethod
    def _wrapped(call: Call, result: Any) -> Any:
        known = {id(tensor.wrapped): tensor for tensor in call.ours}

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return known[id(value)] if id(value) in known else PretendedTensor(value)

        return mapped(wrap, result)


@cache
def _check_autograd() -> None:
    try:
        PretendedTensor(torch.ones(())).requires_grad_().mul(1).backward()
    except RuntimeError as error:
        message = "import lightning_gen.testing.pretended_tensor before the first backward pass of the process"
        raise RuntimeError(message) from error


def differences(first: Trace, second: Trace) -> list[str]:
    """How two steps of one kind differ: numbers that a graph of the first would keep, or other operations."""
    names = [operation.name for operation in first], [operation.name for operation in second]
    if names[0] != names[1]:
        one, other = map(Counter, names)
        return [f"{name}: {one[name]} and {other[name]} times" for name in one | other if one[name] != other[name]] or [
            "other operations, in another order"
        ]
    changed = {}
    for one, other in zip(first, second, strict=True):
        pairs = [f"{a} and {b}" for a, b in zip_longest(one.numbers, other.numbers) if a != b]
        if pairs:
            changed[f"{one.name}: {', '.join(pairs[:3])} at {one.line}"] = None
    return list(changed)


def line_of_product() -> str:
    """The innermost line outside of torch and of this folder; backward passes have none, as they run in a thread."""
    frame = sys._getframe(2)  # there is no public way to a frame
    while frame is not None:
        path = frame.f_code.co_filename
        if "site-packages" not in path and not path.startswith((HERE, "<")) and "/lib/python" not in path:
            return f"{'/'.join(path.split('/')[-3:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "the backward pass"


def _patches() -> Iterator[Any]:
    """What works below the dispatcher, where our tensors have no memory."""
    yield patch("torch.tensor", _made_on_cpu(torch.tensor))
    yield patch("torch.as_tensor", _made_on_cpu(torch.as_tensor))
    yield patch.object(Tensor, "new_tensor", _made_on_cpu(Tensor.new_tensor))
    yield patch.object(Tensor, "tolist", _read_by(Tensor.tolist))
    for kind in pretended_rnn.STATES:
        yield patch.object(torch._VF, kind, pretended_rnn.layer_of(kind, getattr(torch._VF, kind)))
        name = f"{kind}_cell"
        yield patch.object(torch._VF, name, pretended_rnn.cell_of(kind, getattr(torch._VF, name)))
    yield _new_parameters()


@contextmanager
def _new_parameters() -> Iterator[None]:
    """`Module.to` gives a module new parameters: those of the CPU can't take over the others' memory."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _made_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    def make(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        ours = args[0] if isinstance(args[0], PretendedTensor) else None  # of `new_tensor`
        if device is None and ours is not None:
            device = ours.device
        if device is None or torch.device(device).type != DEVICE_TYPE:
            return function(*args, **kwargs) if device is None else function(*args, device=device, **kwargs)
        first = args[0] if ours is None else ours.wrapped
        return function(first, *args[1:], device="cpu", **kwargs).to(device)

    return make


def _read_by(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def read(tensor: Tensor) -> Any:
        return function(tensor.cpu() if isinstance(tensor, PretendedTensor) else tensor)

    return read
