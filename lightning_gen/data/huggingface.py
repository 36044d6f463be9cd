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
from lightning_gen.data.image_data import SPLITS, ImageData
from lightning_gen.data.pixels import FEW, doubts_of_frames, doubts_of_values, pixels_of, spread
from lightning_gen.data.source import StreamSource
from lightning_gen.data.splitting import check_fractions, missing_fractions, split_indices
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

_SPLIT_NAMES = {"train": ("train",), "val": ("validation", "valid", "val"), "test": ("test",)}


@dataclass(kw_only=True, eq=False, repr=False)
class HuggingFace(ImageData):
    """The data set `path` (`owner/name`, or a local folder of one), optionally its configuration `subset`.

    Null columns mean the first one of images and the first one of class labels; null `channels` and `size` mean those
    of the first image. `split` is the fractions of splits that the data set lacks.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format(self.channels, self.size, self.resize)
        check_fractions(self.split)
        self.limits = check_range(self.range)
        self.name = self.path.rpartition("/")[2]

    def prepare_data(self) -> None:
        self._open()

    def load(self) -> Mapping[str, StreamSource]:
        tables = self._splits(self._open())
        features = tables["train"].features
        image_column = self._column("image_column", self.image_column, features, "Image")
        if image_column is None:
            raise UserError(f"data.path={self.path}: has no images, its columns are {', '.join(features)}")
        label_column = self._column("label_column", self.label_column, features, "ClassLabel")
        if label_column is not None:
            self.class_names = self._names(features[label_column], label_column)
        channels, size = self._format(tables["train"][0][image_column])
        self.notes += self._pixel_notes(tables["train"], image_column)
        rows = {split: torch.arange(len(table)) for split, table in tables.items()}
        rows |= split_indices(len(tables["train"]), missing_fractions(tables, self.split), self.seed)
        resize = None if self.size is None else self.resize
        sources = {}
        for split in SPLITS:
            table = tables.get(split, tables["train"])
            images = _Rows(table, image_column, rows[split], channels, size, resize, self.limits)
            # A column is read alone: its images are not decoded.
            labels = None if label_column is None else torch.tensor(table[label_column][:])[rows[split]]
            sources[split] = StreamSource(images, labels, self.workers())
        return sources

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
            raise UserError(
                "data=huggingface: the package datasets is missing: pip install 'lightning-gen[huggingface]'"
            ) from error
        try:
            return datasets.load_dataset(self.path, name=self.subset)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"data.path={self.path}: cannot be loaded ({reason(error)}), check the name, data.subset or the network"
            ) from error

    def _splits(self, tables: Any) -> dict[str, Any]:
        found = {split: tables[name] for split, names in _SPLIT_NAMES.items() for name in names[::-1] if name in tables}
        if "train" not in found:
            raise UserError(f"data.path={self.path}: has no split named train, only {', '.join(tables)}")
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

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        row = int(self.rows[index])
        try:
            image = self.table[row][self.column]
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
