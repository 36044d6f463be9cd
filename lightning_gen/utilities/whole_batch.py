"""Random numbers by the place of a row in the batch of all ranks: the same run on any number of ranks.

Ranks seed their generators alike. Within `whole_batch` each of them draws for the rows of all ranks, as one process
does, and keeps its own: rank r of W has the rows r, r + W, r + 2W, ... A draw belongs to rows if its batch dimension is
a multiple of their number; a merged dimension, as the frames of sequences, `(B * T, ...)`, is one. Others are the same
on all ranks, as are draws within a fused operation: dropout of `nn.LSTM` and of attention.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_entered: list["WholeBatch"] = []


def whole_batch(
    rank: int,
    world_size: int,
    rows: int,
    total: int | None = None,
    replaced: Mapping[Callable, Callable] | None = None,
) -> AbstractContextManager:
    """Draw by place in the batch of `total` (`rows * world_size`) rows, of which `rows` are this rank's.

    Functions of torch that are keys of `replaced` become its values. One process has nothing to do.
    """
    if world_size == 1:
        return nullcontext()
    return WholeBatch(rank, world_size, rows, total or rows * world_size, replaced or {})


@contextmanager
def batch_rows(number: int) -> Iterator[None]:
    """Within it this rank has `number` rows: for a part of a batch."""
    with _changed(rows=number, total=number * _entered[-1].world_size) if _entered else nullcontext():
        yield


@contextmanager
def batch_dim(dim: int) -> Iterator[None]:
    """Within it rows are dimension `dim` of draws: `torch.rand(4, batch)` has `batch_dim(1)`."""
    with _changed(dim=dim) if _entered else nullcontext():
        yield


@contextmanager
def no_draws() -> Iterator[None]:
    """Within it nothing is drawn for the whole batch, and no function of torch takes longer: for optimizer steps."""
    if not _entered:
        yield
        return
    mode = _entered[-1]
    mode.__exit__(None, None, None)
    try:
        yield
    finally:
        mode.__enter__()


@contextmanager
def _changed(**values: int) -> Iterator[None]:
    mode = _entered[-1]
    before = {name: getattr(mode, name) for name in values}
    vars(mode).update(values)
    try:
        yield
    finally:
        vars(mode).update(before)


class WholeBatch(TorchFunctionMode):
    """The mode behind `whole_batch`."""

    def __init__(self, rank: int, world_size: int, rows: int, total: int, replaced: Mapping[Callable, Callable]):
        super().__init__()
        self.rank, self.world_size = rank, world_size
        self.rows, self.total = rows, total
        self.dim = 0
        self.replaced = replaced

    def __enter__(self) -> "WholeBatch":
        _entered.append(self)
        return super().__enter__()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        _entered.remove(self)
        super().__exit__(exc_type, exc_val, exc_tb)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in self.replaced:
            return self.replaced[func](*args, **kwargs)
        draw = DRAWS.get(func)
        if draw is None or kwargs.get("generator") is not None or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        return draw(self, func, *args, **kwargs)

    # Shapes: `(n * k, ...)` of this rank is a part of `(total * k, ...)`.

    def has_rows(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape has a batch dimension."""
        return len(shape) > self.dim and 0 not in shape and shape[self.dim] % self.rows == 0

    def widened(self, shape: Sequence[int]) -> list[int]:
        """The shape for the whole batch."""
        wide = list(shape)
        wide[self.dim] = wide[self.dim] // self.rows * self.total
        return wide

    def outline(self, local: Tensor) -> Tensor:
        """A tensor on the meta device, laid out as one process would have `local`."""
        inner = local.stride(self.dim)
        strides = [s // self.rows * self.total if s > inner else s for s in local.stride()]
        return torch.empty_strided(self.widened(local.shape), strides, dtype=local.dtype, device="meta")

    def mine(self, wide: Tensor) -> Tensor:
        """A view of this rank's rows, `(..., n, k, ...)`."""
        index = (*[slice(None)] * self.dim, slice(self.rank, None, self.world_size))
        return wide.unflatten(self.dim, (self.total, -1))[index]

    def kept(self, wide: Tensor) -> Tensor:
        """This rank's rows `(..., n * k, ...)`, without the memory of the others."""
        return self.mine(wide).clone().flatten(self.dim, self.dim + 1)

    def placed(self, local: Tensor) -> Tensor:
        """This rank's rows among ones, differentiable."""
        wide = torch.ones_like(self.outline(local), device=local.device)
        self.mine(wide).copy_(local.unflatten(self.dim, (self.rows, -1)))
        return wide


# How to draw for the whole batch, by kind of function.


def _new(mode: WholeBatch, func: Callable, *args: Any, **kwargs: Any) -> Tensor:
    """`torch.rand` and its kin: the size is a keyword, a sequence, or all positional arguments."""
    if "size" in kwargs:
        size = kwargs.pop("size")
    elif args and isinstance(args[-1], tuple | list):
        args, size = args[:-1], args[-1]
    else:
        args, size = (), args
    if not mode.has_rows(size):
        return func(*args, size=size, **kwargs)
    wide = func(*args, size=mode.widened(size), **kwargs)
    return mode.kept(wide.detach()).requires_grad_(wide.requires_grad)


def _like(mode: WholeBatch, func: Callable, other: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`torch.rand_like` and its kin."""
    if not mode.has_rows(other.shape):
        return func(other, *args, **kwargs)
    wide = func(mode.outline(other), *args, **{"device": other.device, **kwargs})
    return mode.kept(wide.detach()).requires_grad_(wide.requires_grad)


def _in_place(mode: WholeBatch, func: Callable, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.uniform_` and its kin, with numbers as parameters."""
    if not mode.has_rows(target.shape):
        return func(target, *args, **kwargs)
    wide = func(torch.empty_like(mode.outline(target), device=target.device), *args, **kwargs)
    return target.copy_(mode.kept(wide))


def _by_value(mode: WholeBatch, func: Callable, values: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Functions that use as many random numbers whatever the values are; those of other ranks are taken to be one."""
    if not mode.has_rows(values.shape):
        return func(values, *args, **kwargs)
    return mode.kept(func(mode.placed(values), *args, **kwargs))


def _multinomial(mode: WholeBatch, func: Callable, weights: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A vector of weights is one distribution, not a row each."""
    return _by_value(mode, func, weights, *args, **kwargs) if weights.ndim == 2 else func(weights, *args, **kwargs)


def _bernoulli(mode: WholeBatch, func: Callable, target: Tensor, p: Tensor | float = 0.5, **kwargs: Any) -> Tensor:
    """`Tensor.bernoulli_`, whose probability may be a tensor."""
    if isinstance(p, Tensor):
        return target.copy_(_by_value(mode, torch.bernoulli, p.expand_as(target), **kwargs))
    return _in_place(mode, func, target, p, **kwargs)


def _normal(
    mode: WholeBatch, func: Callable, mean: Tensor | float = 0.0, std: Tensor | float = 1.0, *args: Any, **kwargs: Any
) -> Tensor:
    """`torch.normal`, with tensors or with a size."""
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        return _new(mode, func, mean, std, *args, **kwargs)
    shape = torch.broadcast_shapes(*(value.shape for value in (mean, std) if isinstance(value, Tensor)))
    if not mode.has_rows(shape):
        return func(mean, std)
    wide = [mode.placed(value.expand(shape)) if isinstance(value, Tensor) else value for value in (mean, std)]
    return mode.kept(func(*wide))


def _dropout(
    mode: WholeBatch, func: Callable, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """`F.dropout` and its kin: factors, drawn for inputs of one."""
    if not training or not p or not mode.has_rows(input.shape):
        return func(input, p, training, inplace)
    with torch.no_grad():
        factors = mode.kept(func(torch.ones_like(mode.outline(input), device=input.device), p))
    return input.mul_(factors) if inplace else input * factors


def _alpha_dropout(
    mode: WholeBatch, func: Callable, input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`F.alpha_dropout` and its kin, which do more than to multiply."""
    if not training or not p:
        return func(input, p, training, inplace)
    output = _by_value(mode, func, input, p, True)
    return input.copy_(output) if inplace else output


DRAWS: dict[Callable, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.rand, torch.randn, torch.randint), _new),
    **dict.fromkeys((torch.rand_like, torch.randn_like, torch.randint_like), _like),
    **dict.fromkeys((Tensor.uniform_, Tensor.normal_, Tensor.exponential_, Tensor.random_), _in_place),
    **dict.fromkeys((Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_), _in_place),
    **dict.fromkeys((torch.bernoulli, Tensor.bernoulli, F.gumbel_softmax), _by_value),
    **dict.fromkeys((torch.multinomial, Tensor.multinomial), _multinomial),
    Tensor.bernoulli_: _bernoulli,
    torch.normal: _normal,
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout),
    **dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), _alpha_dropout),
}
