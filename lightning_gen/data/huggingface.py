"""Image data sets of the Hugging Face hub, by the package `datasets`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.decode import (
    UNREADABLE,
    Limits,
    Resize,
    check_format,
    check_range,
    header,
    is_gray,
    pair,
    reason,
    samples_of,
    to_tensor,
)
from lightning_gen.data.folder_scan import shown
from lightning_gen.data.image_data import SPLITS, ImageData
from lightning_gen.data.parquet_table import ParquetTable, order_by_groups
from lightning_gen.data.pixels import FEW, doubts_of_frames, doubts_of_values, pixels_of, spread
from lightning_gen.data.source import StreamSource
from lightning_gen.data.splitting import check_fractions, missing_fractions, split_indices
from lightning_gen.errors import UserError, missing_package
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen.utilities.text_lists import listed

_SPLIT_NAMES = {"train": ("train",), "val": ("validation", "valid", "val"), "test": ("test",)}


@dataclass(kw_only=True, eq=False, repr=False)
class HuggingFace(ImageData):
    """The data set `path` (`owner/name`, or a local folder of one), optionally its configuration `subset`.

    Null columns mean the first one of images and the first one of class labels; null `channels` and `size` mean those
    of the first image. `split` is the fractions of splits that the data set lacks. With `streaming` Parquet files are
    read as rows are needed and never downloaded as a whole; images are then shuffled within a few row groups at a time.
    """

    path: str
    subset: str | None
    image_column: str | None
    label_column: str | None
    channels: PositiveInt | None
    size: int | list[int] | None
    resize: Resize
    split: list[float]
    range: list[float] | None = None  # as of `folder`
    streaming: bool = False  # a config from before this key lacks it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.streaming:
            self.in_memory = False
            if self.num_workers is None:
                self.num_workers = 1  # each reads the row groups of its own batches
        check_format(self.channels, self.size, self.resize)
        check_fractions(self.split)
        self.limits = check_range(self.range)
        self.name = self.path.rpartition("/")[2]

    def prepare_data(self) -> None:
        self._open()

    def load(self) -> Mapping[str, StreamSource]:
        tables = self._splits(self._open())
        if not len(tables["train"]):
            raise UserError(f"data.path={self.path}: its split train has no rows")
        features = tables["train"].features
        image_column = self._column("image_column", self.image_column, features, "Image")
        if image_column is None:
            raise UserError(f"data.path={self.path}: has no images, its columns are {', '.join(features)}")
        label_column = self._column("label_column", self.label_column, features, "ClassLabel")
        names = None if label_column is None else self._names(features[label_column], label_column)
        # A column is read alone: its images are not decoded.
        labels = {split: self._labels(table[label_column][:]) for split, table in tables.items() if label_column}
        self.class_names = names if labels.get("train") is not None else None
        channels, size = self._format(tables["train"][0][image_column])
        self.notes += self._pixel_notes(tables["train"], image_column)
        resize = None if self.size is None else self.resize
        sources = {}
        for split, (origin, rows) in self._rows(tables, labels).items():
            images = _Rows(tables[origin], image_column, rows, channels, size, resize, self.limits)
            known = None if self.class_names is None else labels[origin]
            sources[split] = StreamSource(images, None if known is None else known[rows], self.workers())
        return sources

    def _labels(self, values: list[int | None]) -> Tensor | None:
        """The values of a column, -1 where there are none; None if all lack, as in test sets of competitions."""
        labels = torch.tensor([-1 if value is None else value for value in values], dtype=torch.int64)
        return None if (labels < 0).all() else labels

    def _rows(self, tables: Mapping[str, Any], labels: Mapping[str, Tensor | None]) -> dict[str, tuple[str, Tensor]]:
        """The table and the rows of each split, without those that lack a label where others have one."""
        rows = {}
        for split, table in tables.items():
            known = labels.get(split)
            rows[split] = torch.arange(len(table)) if known is None else (known >= 0).nonzero()[:, 0]
            if len(rows[split]) < len(table):
                lost = len(table) - len(rows[split])
                self.notes.append(f"left out: {lost:,} of the {len(table):,} rows of {split}, which have no label")
        drawn = split_indices(len(rows["train"]), missing_fractions(tables, self.split), self.seed)
        origins = {split: split if split in tables else "train" for split in SPLITS}
        parts = rows | {split: rows["train"][part] for split, part in drawn.items()}
        return {split: (origins[split], parts[split]) for split in SPLITS}

    def _pixel_notes(self, table: Any, column: str) -> list[str]:
        """Lines about images whose pixels may be meant otherwise."""
        pixels = {}
        for row in spread(list(range(len(table))), FEW // 4):
            try:
                if (image := table[row][column]) is not None:
                    pixels[row] = pixels_of(image, samples_of(image))
            except UNREADABLE:
                continue  # it is reported when it is used
        several = {f"row {row}": facts.frames for row, facts in pixels.items() if facts.frames > 1}
        frames = doubts_of_frames(several, len(pixels), "make a data set of single images for the others")
        return frames + doubts_of_values(pixels.values(), self.limits)

    def _open(self) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise missing_package("data=huggingface", "datasets", "huggingface") from error
        try:
            if self.streaming:
                return self._parquet(datasets.load_dataset_builder(self.path, name=self.subset))
            return datasets.load_dataset(self.path, name=self.subset)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"data.path={self.path}: cannot be loaded ({reason(error)}), check the name, data.subset or the network"
            ) from error

    def _parquet(self, builder: Any) -> dict[str, ParquetTable]:
        """The tables of a data set of Parquet files, by split."""
        files = {str(split): list(map(str, names)) for split, names in (builder.config.data_files or {}).items()}
        if not files or not all(name.endswith(".parquet") for names in files.values() for name in names):
            fix = "only they have random access, for exact resume; set data.streaming=false, which downloads it"
            raise UserError(f"data.streaming=true: data.path={self.path} is not of Parquet files: {fix}")
        return {split: ParquetTable(names) for split, names in files.items()}

    def _splits(self, tables: Any) -> dict[str, Any]:
        found = {split: tables[name] for split, names in _SPLIT_NAMES.items() for name in names[::-1] if name in tables}
        if "train" not in found:
            raise UserError(f"data.path={self.path}: has no split named train, only {', '.join(tables)}")
        used = [id(table) for table in found.values()]
        others = [f"{shown(name)} ({len(table):,} rows)" for name, table in tables.items() if id(table) not in used]
        if others:
            self.notes.append(f"left out, beside train, validation and test: {listed(others, ', ')}")
        return found

    @staticmethod
    def _column(key: str, chosen: str | None, features: Any, kind: str) -> str | None:
        """The chosen column, else the first whose feature is of the class `kind`, else None."""
        if chosen is None:
            return next((name for name, feature in features.items() if type(feature).__name__ == kind), None)
        if chosen not in features:
            fix = did_you_mean(chosen, features) or f", choose from {', '.join(features)}"
            raise UserError(f"data.{key}={chosen}: no such column{fix}")
        return chosen

    @staticmethod
    def _names(feature: Any, column: str) -> list[str]:
        if type(feature).__name__ != "ClassLabel":
            raise UserError(f"data.label_column={column}: its values are no class labels, choose another or null")
        return list(feature.names)

    def _format(self, image: Any) -> tuple[int, tuple[int, int]]:
        if image is None:
            raise UserError(f"data.path={self.path}: the first row of train has no image")
        size, mode = header(image)
        if self.size is not None:
            size = pair(self.size)
        return self.channels or (1 if is_gray(mode) else 3), size


class _Rows:
    """Rows of a table as a map-style data set of uint8 images; with `resize` None they must have the size."""

    def __init__(
        self,
        table: Any,
        column: str,
        rows: Tensor,
        channels: int,
        size: tuple[int, int],
        resize: Resize | None,
        limits: Limits | None = None,
    ) -> None:
        self.table = table
        self.column = column
        self.rows = rows
        self.channels = channels
        self.size = size
        self.resize = resize
        self.limits = limits

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)

    def pass_order(self, draw: torch.Generator) -> Tensor:
        """A random order of the images `(N,)`."""
        if isinstance(self.table, ParquetTable) and len(self):
            return order_by_groups(self.table.groups(self.rows), draw)
        return torch.randperm(len(self), generator=draw)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        row = int(self.rows[index])
        try:
            image = self.table[row][self.column]
            if image is None:
                raise UserError(f"data.image_column={self.column}: row {row} has no image")
            size, _ = header(image)
            if self.resize is None and size != self.size:
                raise UserError(
                    f"data.size=null: images differ in size, row {row} is {size[0]}x{size[1]} and row 0 is "
                    f"{self.size[0]}x{self.size[1]}: set data.size=[{self.size[0]},{self.size[1]}]"
                )
            return to_tensor(image, self.channels, self.size, self.resize or "crop", self.limits)
        except UNREADABLE as error:
            raise UserError(
                f"data.image_column={self.column}: row {row} cannot be read as an image ({reason(error)})"
            ) from error
