"""Decoded images on disk, mapped into memory: decoded once, for all processes of a run and for later starts."""

import errno
import os
from typing import IO, Protocol

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor

from lightning_gen.data.disk_cache import DiskCache, MappedFile, short_hash, write_array, write_header
from lightning_gen.data.source import decode_each
from lightning_gen.utilities.progress import progress

FORMAT = 1  # of the files, and of the conversion to pixels
STAMP = 16  # bytes


class DecodedImages(Protocol):
    """Images that are decoded when they are asked for, all of `image_shape`; UserError for unreadable ones."""

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


class MappedImages:
    """Rows of a uint8 tensor `(N, C, H, W)` that is mapped from a file: an `ImageTensor` without memory of its own."""

    def __init__(self, file: MappedFile, rows: Tensor) -> None:
        self.file = file
        self.pixels = torch.from_numpy(file.arrays[1])
        self.rows = rows
        self.shape = torch.Size([len(rows), *self.pixels.shape[1:]])
        self.device = self.pixels.device

    def __reduce__(self) -> tuple[type["MappedImages"], tuple[MappedFile, Tensor]]:
        return MappedImages, (self.file, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[self.rows[index]]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Images `(B, C, H, W)`; `dim` is 0."""
        return self.pixels.index_select(0, self.rows.index_select(0, index))

    def to(self, device: torch.device) -> Tensor:
        """A copy of these images on a device."""
        images = torch.empty(self.shape, dtype=torch.uint8, device=device)
        for place in torch.arange(len(self)).split(4096):  # not a second copy of all in memory
            images[place[0] : place[-1] + 1] = self.index_select(0, place).to(device)
        return images


def decoder() -> str:
    """The versions of what decodes images: others may give other pixels."""
    return f"{FORMAT} {PIL.__version__} {features.version('jpg')} {features.check('libjpeg_turbo')}"


def mapped_pixels(
    cache: DiskCache, origin: object, stamps: np.ndarray, images: DecodedImages, num_threads: int
) -> MappedFile | str:
    """The pixels of all `images`, as the second array of a file, or the reason why they cannot be kept.

    `stamps` `(N, 16)` uint8 differ when images do, and `origin` tells how they are decoded. Only images whose stamps
    are in no file of the same origin are decoded, by one process while others wait. UserError for unreadable images.
    """
    prefix = f"pixels-{short_hash((decoder(), origin))}-"
    name = f"{prefix}{short_hash(stamps.tobytes())}.npy"
    with cache.locked(name):
        if found := open_pixels(cache, name, len(images), images.image_shape):
            return found
        known = _Known(cache, prefix, images.image_shape)
        problem = cache.write(name, images_bytes(images), lambda file: _fill(file, stamps, images, known, num_threads))
    return problem or open_pixels(cache, name, len(images), images.image_shape) or f"{cache.folder}: cannot be read"


def images_bytes(images: DecodedImages) -> int:
    """The size of a file of `images`, but for its header."""
    return len(images) * (STAMP + int(np.prod(images.image_shape)))


def open_pixels(cache: DiskCache, name: str, count: int, image_shape: tuple[int, ...]) -> MappedFile | None:
    """The file, if it holds the stamps and pixels of `count` images of this shape."""
    file = cache.open(name)
    expected = [(count, STAMP), (count, *image_shape)]
    fits = file is not None and [(a.shape, a.dtype) for a in file.arrays] == [(s, np.uint8) for s in expected]
    return file if fits else None


class _Known:
    """Images by their stamps, of the file of the same origin that was used last."""

    def __init__(self, cache: DiskCache, prefix: str, image_shape: tuple[int, ...]) -> None:
        name = cache.newest(prefix)
        file = cache.open(name) if name else None
        self.rows: dict[bytes, int] = {}
        if file and len(file.arrays) == 2 and file.arrays[1].shape == (len(file.arrays[0]), *image_shape):
            self.pixels = file.arrays[1]
            self.rows = {stamp.tobytes(): row for row, stamp in enumerate(file.arrays[0])}

    def get(self, stamp: np.ndarray) -> np.ndarray | None:
        row = self.rows.get(stamp.tobytes())
        return None if row is None else self.pixels[row]


def _fill(file: IO[bytes], stamps: np.ndarray, images: DecodedImages, known: _Known, num_threads: int) -> None:
    write_array(file, stamps)
    offset = write_header(file, (len(images), *images.image_shape))
    size = int(np.prod(images.image_shape))

    def put(index: int, pixels: np.ndarray) -> None:
        if os.pwrite(file.fileno(), pixels.tobytes(), offset + index * size) != size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    new = []
    for index, stamp in enumerate(stamps):
        pixels = known.get(stamp)
        if pixels is None:
            new.append(index)
        else:
            put(index, pixels)
    with progress("decoding images", len(new)) as advance:

        def put_decoded(index: int, image: Tensor) -> None:
            put(index, image.numpy())
            advance(1)

        decode_each(images, new, num_threads, put_decoded)
