"""Sources of images: one tensor on the device, or files decoded by worker processes.

Both map the same stream of indices to batches on a device, so the order of a run does not depend on the source.
"""

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_gen.errors import UserError
from lightning_gen.utilities.signals import held_back, leave_to_parent

# Images (B, *image_shape), uint8 or float32 in [-1, 1], and labels (B,), int64 or None, on the requested device.
Raw = tuple[Tensor, Tensor | None]


class Images(Protocol):
    """A map-style data set of uint8 images `(C, H, W)`, or sequences `(T, C, H, W)`, of one shape.

    Images that are generated on the fly may be infinite: with `endless = True`, every index from 0 on has an image, and
    the length is that of one pass.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


@runtime_checkable
class ImageTensor(Images, Protocol):
    """A tensor of images `(N, *image_shape)`, or an object that gathers images like one."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def device(self) -> torch.device: ...

    def index_select(self, dim: int, index: Tensor, /) -> Tensor: ...

    def to(self, device: torch.device, /) -> "ImageTensor": ...


class Source(Protocol):
    """Images by index: `labels` int64 `(N,)` or None; indices are expected on `index_device`."""

    labels: Tensor | None

    @property
    def images(self) -> Images: ...

    @property
    def image_shape(self) -> tuple[int, ...]: ...

    @property
    def index_device(self) -> torch.device: ...

    def __len__(self) -> int: ...

    def batches(self, index_batches: Iterable[Tensor], device: torch.device) -> Iterator[Raw]: ...


class TensorSource:
    """All images as one tensor `(N, *image_shape)`, and int64 labels `(N,)` or None: a batch is an index gather.

    The tensor is uint8, or float32 in [-1, 1] for data that 8 bits are too coarse for.
    """

    def __init__(self, images: ImageTensor, labels: Tensor | None = None) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    @property
    def index_device(self) -> torch.device:
        return self.images.device

    def to(self, device: torch.device) -> "TensorSource":
        return TensorSource(self.images.to(device), None if self.labels is None else self.labels.to(device))

    def batches(self, index_batches: Iterable[Tensor], device: torch.device) -> Iterator[Raw]:
        for index in index_batches:
            images = self.images.index_select(0, index)
            labels = None if self.labels is None else self.labels.index_select(0, index)
            yield _to(images, device), None if labels is None else _to(labels, device)


class StreamSource:
    """Images that do not fit in memory, decoded ahead of need by `num_workers` processes (0: in this one)."""

    index_device = torch.device("cpu")

    def __init__(self, images: Images, labels: Tensor | None = None, num_workers: int = 0) -> None:
        self.images = images
        self.labels = labels
        self.num_workers = num_workers
        self._loaders: list[tuple[DataLoader, _IndexBatches]] = []
        self._idle: list[tuple[DataLoader, _IndexBatches]] = []
        # The garbage collector closes the queues of a loader in a reference cycle before it ends the workers, which
        # then wait five seconds for an end mark. So loaders are held from outside until their source is gone.
        weakref.finalize(self, list.clear, self._loaders)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, ...]:
        # Data sets that know their shape say so: the first image need not be decoded.
        return tuple(getattr(self.images, "image_shape", None) or self.images[0].shape)

    def in_memory(self) -> TensorSource:
        """Every image decoded once; images that are mapped from a file as they are."""
        if isinstance(self.images, ImageTensor):
            return TensorSource(self.images, self.labels)
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8)
        decode_each(self.images, range(len(self)), self.num_workers, images.__setitem__)
        return TensorSource(images, self.labels)

    def batches(self, index_batches: Iterable[Tensor], device: torch.device) -> Iterator[Raw]:
        # A finished loader keeps its workers for the next pass; concurrent passes never share one.
        loader, sampler = self._idle.pop() if self._idle else self._loader(pin=device.type == "cuda")
        indices = (index.tolist() for index in index_batches)
        sampler.indices = weakref.ref(indices)
        try:
            with held_back():  # until workers know what to do with them
                batches = iter(loader)
            for index, images in batches:
                if isinstance(images, UserError):
                    raise images
                labels = None if self.labels is None else _to(self.labels.index_select(0, index), device)
                yield images.to(device, non_blocking=True), labels
        finally:
            self._idle.append((loader, sampler))

    def _loader(self, pin: bool) -> tuple[DataLoader, "_IndexBatches"]:
        sampler = _IndexBatches()
        loader = DataLoader(
            _Indexed(self.images),
            batch_sampler=sampler,
            collate_fn=_as_is,
            num_workers=self.num_workers,
            worker_init_fn=leave_to_parent,
            persistent_workers=self.num_workers > 0,
            prefetch_factor=4 if self.num_workers > 0 else None,
            pin_memory=pin,
            generator=torch.Generator(),  # else each pass would draw a seed from the global generator
        )
        self._loaders.append((loader, sampler))
        return loader, sampler


class _IndexBatches(Sampler[list[int]]):
    """A batch sampler of the indices of one pass, which the pass owns: they may refer to the source of this loader."""

    def __init__(self) -> None:
        self.indices: Callable[[], Iterator[list[int]] | None] = lambda: None

    def __iter__(self) -> Iterator[list[int]]:
        return self

    def __next__(self) -> list[int]:
        return next(self.indices() or iter(()))


class _Indexed(Dataset[Tensor]):
    """Yields a batch with its indices. A UserError is returned as a value: workers garble raised messages."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor | UserError]:
        index = torch.tensor(indices)
        try:
            return index, torch.stack([self.images[i] for i in indices])
        except UserError as error:
            return index, error


def decode_each(images: Images, indices: Sequence[int], num_threads: int, use: Callable[[int, Tensor], None]) -> None:
    """Decode the images at `indices` and `use` each with its index, by threads (Pillow releases the interpreter lock).

    UserError with the first of those that are unreadable.
    """

    def decode(some: Sequence[int]) -> list[str]:
        errors = []
        for index in some:
            try:
                use(index, images[index])
            except UserError as error:
                errors.append(str(error))
        return errors

    with ThreadPoolExecutor(max(1, num_threads)) as pool:  # a task for each image would take longer than small images
        parts = [indices[start : start + 64] for start in range(0, len(indices), 64)]
        errors = [error for found in pool.map(decode, parts) for error in found]
    if errors:
        raise UserError(first_of(errors))


def is_endless(source: Source) -> bool:
    """Whether images are generated without end, so that training sees each only once."""
    return getattr(source.images, "endless", False)


def num_bytes(source: Source) -> int:
    """The memory that the images take, in bytes."""
    nbytes = getattr(source.images, "nbytes", None)
    return len(source) * math.prod(source.image_shape) if nbytes is None else nbytes


def first_of(errors: list[str]) -> str:
    """The first of many errors of one kind, and how many more there are."""
    return errors[0] + (f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else "")


def _as_is(batch: Any) -> Any:
    return batch


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.device == device:
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # only copies from pinned memory do not wait
    return tensor.to(device, non_blocking=device.type == "cuda")
