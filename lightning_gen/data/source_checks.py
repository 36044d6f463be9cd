"""What a data set of a plugin gives is checked before anything is done with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.errors import UserError


def check_sources(sources: Any, splits: Sequence[str], class_names: Sequence[str] | None, what: str) -> None:
    """UserError, which begins with `what`, unless `load` has given a source for each split, of images of one shape."""
    if not isinstance(sources, Mapping) or not set(splits) <= sources.keys():
        given = ", ".join(map(str, sources)) if isinstance(sources, Mapping) else f"a {type(sources).__name__}"
        raise UserError(f"{what}: load() gives {given}; give a dictionary of sources of {', '.join(splits)}")
    for split, source in sources.items():
        if not isinstance(source, TensorSource | StreamSource):
            kind = type(source).__name__
            raise UserError(f"{what}: load() gives a {kind} for {split}; give TensorSource(images, labels)")
        _check_images(source, f"{what}: images of {split}")
        if source.image_shape != sources["train"].image_shape:
            shapes = f"{source.image_shape}, those of train {sources['train'].image_shape}"
            raise UserError(f"{what}: images of {split} are {shapes}; give all splits one shape")
        if source.labels is not None:
            _check_labels(source.labels, len(source), class_names, f"{what}: labels of {split}")


def _check_images(source: TensorSource | StreamSource, what: str) -> None:
    if len(source.image_shape) not in (3, 4):
        raise UserError(f"{what} are {source.image_shape}; give (C, H, W), or (T, C, H, W) for sequences")
    images = source.images
    if not isinstance(images, Tensor):
        return  # decoded later
    if images.dtype not in (torch.uint8, torch.float32):
        raise UserError(f"{what} are {images.dtype}; give uint8, or float32 in [-1, 1]")
    if images.dtype == torch.float32 and len(images) and images.abs().max() > 1:
        raise UserError(f"{what} are floats up to {images.abs().max():.3g}; give uint8, or float32 in [-1, 1]")


def _check_labels(labels: Tensor, images: int, class_names: Sequence[str] | None, what: str) -> None:
    if labels.dtype != torch.int64 or labels.shape != (images,):
        raise UserError(f"{what} are {labels.dtype} {tuple(labels.shape)}; give int64 ({images},)")
    if class_names is None:
        raise UserError(f"{what} have no names; set self.class_names in load(), a name for each class")
    if images and not (labels.min() >= 0 and labels.max() < len(class_names)):
        numbers = f"{labels.min()} to {labels.max()}"
        raise UserError(f"{what} are {numbers}, and class_names has {len(class_names)}; number classes from 0 on")
