"""Folders of images as they are: samples and references of scores, without settings and splits."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch

from lightning_gen.data.decode import ImageFiles
from lightning_gen.data.folder import Folder
from lightning_gen.data.image_data import SPLITS
from lightning_gen.data.source import StreamSource

# Settings of files that are all read as they are, as `train`.
AS_THEY_ARE: dict[str, Any] = {
    "split": [1.0, 0.0, 0.0],
    "skip_unreadable": False,
    "split_by": "path",
    "batch_size": 1,
    "seed": 0,
    "augment": {},
    "augment_share": 1.0,
    "binarize": False,
    "in_memory": None,
    "num_workers": None,
}


def _files(source: StreamSource) -> ImageFiles:
    assert isinstance(source.images, ImageFiles)
    return source.images


def image_paths(source: StreamSource) -> list[Path]:
    """The files of a source that a folder loaded."""
    return list(_files(source).paths)


class WholeFolder(Folder):
    """All images of a folder as `train`, whatever splits are in it."""

    def load(self) -> Mapping[str, StreamSource]:
        parts = [part for part in super().load().values() if len(part)]
        labels = [part.labels for part in parts if part.labels is not None]
        images, nothing = copy(_files(parts[0])), copy(_files(parts[0]))
        images.paths, nothing.paths = [path for part in parts for path in image_paths(part)], []
        together = torch.cat(labels) if len(labels) == len(parts) else None
        if together is None:
            self.class_names = None
        no_labels = None if together is None else together[:0]
        whole = StreamSource(images, together, self.workers())
        return {"train": whole} | {split: StreamSource(nothing, no_labels, self.workers()) for split in SPLITS[1:]}


def image_folder(
    path: str, channels: int | None = None, size: Sequence[int] | None = None, split: str | None = None
) -> Folder:
    """The images under `path` as they are, all as `train`, or with `split` those of split folders."""
    return (WholeFolder if split is None else Folder)(
        path=str(path),
        channels=channels,
        size=None if size is None else list(size),
        resize="crop",
        labels=True,
        **AS_THEY_ARE,
    )
