"""One operation of the pretended device: its arguments, what a GPU would refuse, what the host waits for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.testing.pretended_tensor import DEVICE_TYPE, PretendedTensor, leaves, mapped


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Results whose size the host must read, or that it branches on.
READ_BY_HOST = _names("""nonzero masked_select unique _unique2 unique_consecutive unique_dim bincount equal is_nonzero
multinomial histc _local_scalar_dense linalg_eigh _linalg_eigh linalg_svd _linalg_svd repeat_interleave""")
INDEXING = _names("index index_put index_put_ _index_put_impl_ _unsafe_index _unsafe_index_put")
BETWEEN_DEVICES = INDEXING | {"copy_", "_to_copy", "set_"}
NO_KERNEL = _names("""empty empty_strided empty_like new_empty new_empty_strided detach lift_fresh alias _unsafe_view
is_pinned set_ resize_ _has_same_storage_numel record_stream""")
# Of at::globalContext().alertNotDeterministic, where no other way is taken: `trainer.deterministic=true` refuses them.
NOT_DETERMINISTIC = _names("""grid_sampler_2d_backward upsample_bilinear2d_backward _upsample_bilinear2d_aa_backward
replication_pad2d_backward reflection_pad2d_backward nll_loss2d_forward adaptive_avg_pool2d_backward histc bincount
_cdist_backward _pdist_backward median kthvalue upsample_bicubic2d_backward""")


class Operation(NamedTuple):
    """What is noted of an operation: two steps of one graph have the same, but for the line."""

    name: str
    numbers: tuple[Any, ...]  # all arguments that are no tensors, values of tensors on the CPU, and shapes of others
    written: tuple[tuple[torch.dtype, torch.Size], ...]  # type and shape of each result; none for a view
    line: str


class Call:
    """A dispatched operation: `func(*args, **kwargs)`."""

    def __init__(self, func: Any, args: tuple, kwargs: dict[str, Any]):
        self.func, self.args, self.kwargs = func, args, kwargs
        self.name = func._schema.name.removeprefix("aten::")  # there is no public name without the overload
        self.flat = list(leaves((args, kwargs)))
        tensors = [each for each in self.flat if isinstance(each, Tensor)]
        self.ours = [tensor for tensor in tensors if isinstance(tensor, PretendedTensor)]
        self.others = [tensor for tensor in tensors if not isinstance(tensor, PretendedTensor)]
        asked = kwargs.get("device")
        self.moves = asked is not None
        if asked is not None:
            self.on_device = torch.device(asked).type == DEVICE_TYPE
        elif self.name == "copy_":
            self.on_device = isinstance(args[0], PretendedTensor)
        else:
            self.on_device = bool(self.ours)

    @property
    def concerns_device(self) -> bool:
        return self.on_device or bool(self.ours)

    @property
    def is_view(self) -> bool:
        results = self.func._schema.returns
        return any(each.alias_info is not None and not each.alias_info.is_write for each in results)

    @property
    def is_kernel(self) -> bool:
        return not self.is_view and self.name not in NO_KERNEL

    def check(self) -> None:
        """RuntimeError for what a GPU refuses: tensors of two devices, a generator of another device."""
        # A number on the CPU may stand beside tensors on the device.
        wrong = [] if self.name in BETWEEN_DEVICES else [each for each in self.others if each.ndim]
        if self.ours and wrong:
            raise RuntimeError(
                f"{self.name}: expected all tensors to be on the same device, but found {DEVICE_TYPE}:0 and cpu "
                f"{tuple(wrong[0].shape)}"
            )
        for each in self.flat:
            if isinstance(each, torch.Generator):
                raise RuntimeError(f"{self.name}: expected a {DEVICE_TYPE} generator but found one of {each.device}")

    def on_cpu(self) -> tuple[tuple, dict[str, Any]]:
        """The arguments with the tensors that ours wrap, and numbers on the CPU as they are now."""
        args, kwargs = mapped(self._inner, (self.args, self.kwargs))
        if self.moves:
            kwargs = {key: value for key, value in kwargs.items() if key not in ("pin_memory", "non_blocking")}
            kwargs["device"] = torch.device("cpu")
        return args, kwargs

    def _inner(self, value: Any) -> Any:
        if isinstance(value, PretendedTensor):
            return value.wrapped
        is_argument = isinstance(value, Tensor) and not value.ndim and self.name not in BETWEEN_DEVICES
        return value.clone() if is_argument else value

    def waits(self, pinned: bool) -> Iterator[str]:
        """Why the host would wait; `pinned` of a tensor on the CPU that is copied."""
        if self.name in ("_to_copy", "copy_") and (self.moves or self.others):
            yield from self._wait_of_copy(pinned)
        elif self.name in INDEXING:
            yield from self._waits_of_index()
        elif self.name in READ_BY_HOST and self.ours and self.kwargs.get("output_size") is None:
            yield self.name

    def _wait_of_copy(self, pinned: bool) -> Iterator[str]:
        asynchronous = self.kwargs.get("non_blocking") or (self.name == "copy_" and self.args[2:] == (True,))
        if self.ours and not self.on_device:
            if not asynchronous:
                yield "copy to the CPU"
        elif self.others and not (asynchronous and pinned):
            yield "copy of unpinned memory" if self.others[0].numel() > 1 else "a number from the CPU"

    def _waits_of_index(self) -> Iterator[str]:
        index = [each for each in self.args[1] if isinstance(each, Tensor)]
        if any(each.dtype in (torch.bool, torch.uint8) for each in index):
            one_value = self.name != "index" and len(index) == 1 and self.args[2].numel() == 1  # masked_fill does it
            if not one_value or self.args[2].requires_grad:
                yield "boolean mask"
        if any(not isinstance(each, PretendedTensor) for each in index):
            yield "index on the CPU"

    def noted(self, result: Any, line: str) -> Operation:
        """What to compare and to count."""
        results = [each for each in leaves(result) if isinstance(each, Tensor)] if self.is_kernel else []
        written = tuple((each.dtype, each.shape) for each in results)
        return Operation(str(self.func), tuple(map(_number, self.flat)), written, line)


def _number(value: Any) -> Any:
    if isinstance(value, PretendedTensor):
        return tuple(value.shape)
    if isinstance(value, Tensor):  # a kernel's argument, if it is a number
        return tuple(value.shape) if value.ndim else value.item()
    return value
