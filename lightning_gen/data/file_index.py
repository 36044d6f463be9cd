"""The files of a data set as a few arrays on disk: some fifty bytes a file, mapped into memory and shared."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.disk_cache import MappedFile, write_array

FORMAT = 1
# Absolute paths, and those that lead out of the folder: only in a file that is not of this program.
_OUTSIDE = re.compile(rb"(^|\0)/|(^|[\0/])\.\.($|[\0/])")


class Names(Sequence[Path]):
    """Paths below `root`, each made when it is asked for: as a list of objects they would take ten times the memory."""

    def __init__(self, root: Path, blob: np.ndarray, ends: np.ndarray) -> None:
        self.root = root
        self.blob = blob
        self.ends = ends

    @classmethod
    def of(cls, root: Path, paths: Sequence[Path]) -> "Names":
        """The names of paths relative to `root`, in their order."""
        encoded = [os.fsencode(path.as_posix()) + b"\0" for path in paths]
        ends = np.cumsum([len(name) for name in encoded])
        return cls(root, np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.root / os.fsdecode(self.blob[start : self.ends[index] - 1].tobytes())

    def check(self) -> None:
        """ValueError unless these are as `of` makes them, of paths within a folder."""
        in_order = (np.diff(self.ends, prepend=0) > 1).all() and self.ends[-1] == len(self.blob)
        if not in_order or self.blob[self.ends - 1].any() or _OUTSIDE.search(self.blob.data):
            raise ValueError("names are damaged")


@dataclass
class FileIndex:
    """The files of a data set, and which of them are in each split.

    `rows` of a split are its files in order, as numbers in `names`, int64 `(N,)`; `labels` int64 `(N,)` or None.
    `places` int64 `(files, 3)` are the number of a shard, the offset and the size of each file, for files in shards.
    `stamps` uint8 `(files, 16)` change with the files; None if pixels are not kept. `facts` is plain data.
    """

    names: Names
    rows: dict[str, Tensor]
    labels: dict[str, Tensor | None]
    facts: dict[str, Any]
    places: Tensor | None = None
    stamps: np.ndarray | None = None
    file: MappedFile | None = field(default=None, repr=False)  # that this is mapped from

    def write(self, file: IO[bytes]) -> None:
        """Write to an open file what `read_index` reads."""
        arrays = self._arrays
        splits = {split: len(rows) for split, rows in self.rows.items()}
        head = {"format": FORMAT, "arrays": list(arrays), "splits": splits, "labeled": self._labeled}
        write_array(file, np.frombuffer(json.dumps(head | {"facts": self.facts}).encode(), np.uint8))
        for array in arrays.values():
            write_array(file, array)

    @property
    def num_bytes(self) -> int:
        """About the size of the file."""
        return sum(array.nbytes for array in self._arrays.values())

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        labels = [labels.numpy() for labels in self.labels.values() if labels is not None]
        arrays = {
            "blob": self.names.blob,
            "ends": self.names.ends,
            "rows": torch.cat(list(self.rows.values())).numpy(),
            "labels": np.concatenate(labels) if labels else None,
            "places": None if self.places is None else self.places.numpy(),
            "stamps": self.stamps,
        }
        return {name: array for name, array in arrays.items() if array is not None and array.size}

    @property
    def _labeled(self) -> list[str]:
        return [split for split, labels in self.labels.items() if labels is not None]


def read_index(file: MappedFile, root: Path) -> FileIndex:
    """The index in a file, of files below `root`; one of `disk_cache.DAMAGED` if it is none."""
    head = json.loads(file.arrays[0].tobytes())
    if head["format"] != FORMAT:
        raise ValueError("an index of another version")
    arrays = dict(zip(head["arrays"], file.arrays[1:], strict=True))
    names = Names(root, arrays["blob"], arrays["ends"])
    names.check()
    rows = _parts(arrays["rows"], head["splits"], len(names))
    labeled = {split: head["splits"][split] for split in head["labeled"]}
    classes = len(head["facts"]["class_names"] or [])
    labels = _parts(arrays.get("labels", np.empty(0, np.int64)), labeled, classes)
    places, stamps = arrays.get("places"), arrays.get("stamps")
    if places is not None and (places.shape, places.dtype) != ((len(names), 3), np.int64):
        raise ValueError("places are damaged")
    if stamps is not None and (stamps.shape, stamps.dtype) != ((len(names), 16), np.uint8):
        raise ValueError("stamps are damaged")
    places = None if places is None else torch.from_numpy(places)
    by_split = {split: labels.get(split) for split in rows}
    return FileIndex(names, rows, by_split, head["facts"], places, stamps, file)


def _parts(values: np.ndarray, sizes: Mapping[str, int], bound: int) -> dict[str, Tensor]:
    """Consecutive parts of these sizes; ValueError unless they are all, and all values are in [0, bound)."""
    ends = np.cumsum([0, *sizes.values()])
    whole = values.dtype == np.int64 and values.shape == (ends[-1],) and min(sizes.values(), default=0) >= 0
    if not whole or (len(values) and not 0 <= values.min() <= values.max() < bound):
        raise ValueError("an index is damaged")
    tensor = torch.from_numpy(values)
    return {split: tensor[start:end] for split, (start, end) in zip(sizes, pairwise(ends.tolist()), strict=True)}
