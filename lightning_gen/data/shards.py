"""Shards: large data sets of images as a few tar files, of which any image is read at once."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.cached import CachedImageData
from lightning_gen.data.decode import UNREADABLE, Limits, Resize, check_format, check_range, pair, reason, to_tensor
from lightning_gen.data.disk_cache import DAMAGED, MappedFile
from lightning_gen.data.file_index import FileIndex, read_index
from lightning_gen.data.folder_scan import check_folder, shown
from lightning_gen.data.shard_writer import INDEX
from lightning_gen.data.source import StreamSource
from lightning_gen.errors import UserError

OPEN_SHARDS = 128  # at a time, in each process
_SHARD = re.compile(r"[\w-]+\.tar")


@dataclass(kw_only=True, eq=False, repr=False)
class Shards(CachedImageData):
    """The shards under `path` that `lightning-gen convert` has written, with their splits, classes and order.

    `channels`, `size`, `resize` and `range` are as of `folder`; null: as at the conversion. With `labels` false there
    are no classes.
    """

    path: str
    channels: PositiveInt | None
    size: int | list[int] | None
    resize: Resize | None
    range: list[float] | None
    labels: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format(self.channels, self.size, self.resize or "crop")
        check_range(self.range)
        self.root = Path(self.path).expanduser()

    def load(self) -> Mapping[str, StreamSource]:
        index = self._index()
        facts = index.facts
        self.name, self.digests = facts["name"], facts["digests"]
        self.class_names = facts["class_names"] if self.labels else None
        if self.class_names is None:
            index.labels = dict.fromkeys(index.labels)
        channels = self.channels or facts["channels"]
        size = facts["size"] if self.size is None else self.size
        resize = self.resize or facts["resize"] or (None if self.size is None else "crop")
        images = ShardImages(index, self.root, channels, pair(size), resize, check_range(self.range or facts["range"]))
        self.notes = [f"{len(images):,} images in {len(facts['shards']):,} shards"]
        if self.uses_cache(len(images)):
            index.stamps = images.stamps()
        return self.sources_of(index, images, (str(self.root.resolve()), channels, size, resize, images.limits))

    def _index(self) -> FileIndex:
        """What is in the shards; UserError if it is damaged, or if it is not of these shards."""
        check_folder(self.root)
        if not (self.root / INDEX).is_file():
            fix = "make shards of a folder of images by lightning-gen convert data=folder data.path=FOLDER out=SHARDS"
            raise UserError(f"data.path={self.path}: has no {INDEX}; {fix}")
        try:
            index = read_index(MappedFile(self.root / INDEX), self.root)
            _check_facts(index.facts)
            _check_places(index)
        except DAMAGED as error:
            raise UserError(f"data.path={self.path}: {INDEX} is damaged ({error}); convert the images again") from error
        for name, size in index.facts["shards"].items():
            if not (self.root / name).is_file() or (self.root / name).stat().st_size != size:
                there = "differs from its index" if (self.root / name).exists() else "is missing"
                raise UserError(f"data.path={self.path}: {name} {there}; copy it again, or convert the images again")
        return index


def _check_facts(facts: Mapping[str, Any]) -> None:
    """One of `DAMAGED` unless these are facts that `write_shards` writes."""
    names = [facts["name"], *(facts["class_names"] or []), *facts["digests"]]
    sizes = list(facts["shards"].values())
    if not all(isinstance(name, str) for name in names) or not all(isinstance(size, int) for size in sizes):
        raise ValueError("its facts are damaged")
    if not facts["shards"] or not all(_SHARD.fullmatch(name) for name in facts["shards"]):
        raise ValueError("its names of shards are damaged")
    check_format(facts["channels"], facts["size"], facts["resize"] or "crop")


def _check_places(index: FileIndex) -> None:
    """One of `DAMAGED` unless each image is within its shard."""
    if index.places is None:
        raise ValueError("its places are missing")
    shard, offset, size = index.places.numpy().T
    ends = np.array(list(index.facts["shards"].values()), np.int64)
    if index.places.min() < 0 or (size > ends[shard] - offset).any():
        raise ValueError("its places are damaged")


class ShardImages:
    """The images of an index in its order, as a map-style data set of uint8 `(channels, *size)`.

    UserError for unreadable ones.
    """

    def __init__(
        self,
        index: FileIndex,
        root: Path,
        channels: int,
        size: tuple[int, int],
        resize: Resize | None,
        limits: Limits | None,
    ) -> None:
        assert index.places is not None
        self.names = index.names
        self.places = index.places  # (N, 3): shard, offset, size
        self.shards = [root / name for name in index.facts["shards"]]
        self.image_shape = (channels, *size)
        self.resize = resize
        self.limits = limits

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        shard, offset, size = self.places[index].tolist()
        channels, *sides = self.image_shape
        try:
            content = os.pread(_opened(self.shards[shard]).fileno(), size, offset)
            with Image.open(BytesIO(content)) as image:
                return to_tensor(image, channels, (sides[0], sides[1]), self.resize, self.limits)
        except UNREADABLE as error:
            what = f"{self.shards[shard]}: {shown(self.names[index].name)} (image {index})"
            raise UserError(f"{what} cannot be read ({reason(error)}); convert the images again") from error

    def stamps(self) -> np.ndarray:
        """What changes with an image `(N, 16)` uint8: a hash of its shard's name, size and time, and its offset."""
        shards = []
        for path in self.shards:
            status = path.stat()
            line = f"{path.name} {status.st_size} {status.st_mtime_ns}"
            shards.append(hashlib.blake2b(line.encode(), digest_size=8).digest())
        hashes = np.frombuffer(b"".join(shards), np.int64)[self.places[:, 0].numpy()]
        return np.stack([hashes, self.places[:, 1].numpy()], 1).view(np.uint8)


@lru_cache(maxsize=OPEN_SHARDS)
def _opened(path: Path) -> IO[bytes]:
    return open(path, "rb", buffering=0)
