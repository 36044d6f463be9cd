"""Rows of Parquet files that are not downloaded: any row is read at once, with the row group that holds it."""

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lightning_gen.errors import UserError

WINDOW = 8  # row groups that are shuffled together, and that a process holds in memory


class ParquetTable:
    """The rows of Parquet files, local or of the Hub, with what `datasets.Dataset` offers that `HuggingFace` needs.

    Opening reads the ends of all files, which list their row groups.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = list(files)
        self._open: dict[str, Any] = {}  # of this process
        self._held: OrderedDict[tuple[int, str], list[Any]] = OrderedDict()
        sizes: list[int] = []
        self._places: list[tuple[str, int]] = []  # the file and the number in it of each row group
        for file in self.files:
            groups = self._parquet(file).metadata
            counts = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
            self._places += [(file, number) for number, count in enumerate(counts) if count]
            sizes += [count for count in counts if count]
        self.ends = list(accumulate(sizes))
        self.features = self._features()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_open": {}, "_held": OrderedDict()}

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, key: int | str) -> Any:
        """A row as a mapping, or all values of a column."""
        if isinstance(key, str):
            return [value for place in self._places for value in self._column(*place, key)]
        return _Row(self, key)

    def value(self, row: int, column: str) -> Any:
        """What a row holds; an image is opened, not decoded."""
        group = bisect_right(self.ends, row)
        if (group, column) not in self._held:
            while len(self._held) >= WINDOW:
                self._held.popitem(last=False)
            self._held[group, column] = self._column(*self._places[group], column)
        self._held.move_to_end((group, column))
        value = self._held[group, column][row - (self.ends[group - 1] if group else 0)]
        return _image(value, row) if type(self.features[column]).__name__ == "Image" else value

    def groups(self, rows: Tensor) -> Tensor:
        """The number of the row group of each of the `rows` `(N,)`."""
        return torch.bucketize(rows, torch.tensor(self.ends), right=True)

    def _features(self) -> Any:
        from datasets import Features

        return Features.from_arrow_schema(self._parquet(self.files[0]).schema_arrow)

    def _column(self, file: str, group: int, column: str) -> list[Any]:
        # Without threads: data workers are forked.
        return self._parquet(file).read_row_group(group, [column], use_threads=False)[column].to_pylist()

    def _parquet(self, file: str) -> Any:
        """An open file, of this process."""
        from fsspec.core import url_to_fs
        from pyarrow.parquet import ParquetFile

        key = f"{os.getpid()} {file}"
        if key not in self._open:
            filesystem, path = url_to_fs(file)
            self._open[key] = ParquetFile(filesystem.open(path))
        return self._open[key]


class _Row:
    """A row of a table, of which a column is read when it is asked for."""

    def __init__(self, table: ParquetTable, number: int) -> None:
        self.table = table
        self.number = number

    def __getitem__(self, column: str) -> Any:
        return self.table.value(self.number, column)


def _image(value: Any, row: int) -> Image.Image | None:
    if value is None:
        return None
    if value["bytes"] is None:
        raise UserError(f"data.streaming=true: row {row} names a file and holds no image; set data.streaming=false")
    return Image.open(BytesIO(value["bytes"]))


def order_by_groups(groups: Tensor, draw: torch.Generator) -> Tensor:
    """A random order of images `(N,)` that are in these row groups `(N,)`: the groups are shuffled, and then the images
    of every `WINDOW` groups together, so that a pass reads each group about once.
    """
    shuffled = torch.randperm(int(groups.max()) + 1, generator=draw)
    order = torch.randperm(len(groups), generator=draw)
    windows = shuffled[groups[order]] // WINDOW
    return order[windows.argsort(stable=True)]
