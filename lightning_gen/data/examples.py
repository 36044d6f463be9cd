"""Training images as a model sees them, as they are and augmented, for a picture of a data set."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lightning_gen.data.augment import augmented, normalize
from lightning_gen.errors import UserError
from lightning_gen.randomness import preserved_rng, seed_all

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.data.source import Source

MOST_ROWS = 12  # of classes
ROWS_WITHOUT_CLASSES = 4


class Examples(NamedTuple):
    """Images `(rows, columns, *image_shape)` in [-1, 1]: black where there are too few, and the same ones augmented.

    `classes` has the number of each row's class; without labels it is None. Without augmentation `augmented` is None.
    """

    images: Tensor
    augmented: Tensor | None
    classes: list[int] | None


def examples(data: "ImageData", columns: int) -> Examples | None:
    """The first training images of each of the first classes; None if no file can be read."""
    source = data.sources["train"]
    classes = None if source.labels is None else source.labels.unique()[:MOST_ROWS].tolist()
    if classes is None:
        shown = readable(source, range(len(source)), ROWS_WITHOUT_CLASSES * columns)
        rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    else:
        assert source.labels is not None
        rows = [readable(source, (source.labels == label).nonzero()[:, 0].tolist(), columns) for label in classes]
    if not any(rows):
        return None
    black = torch.full(tuple(data.image_shape), -1.0)
    images = torch.stack([torch.stack([*row, *[black] * (columns - len(row))]) for row in rows])
    return Examples(images, _augmented(data, images), classes)


def readable(source: "Source", indices: "range | list[int]", most: int) -> list[Tensor]:
    """The first images `(*image_shape)` in [-1, 1] at these indices, without unreadable files."""
    found: list[Tensor] = []
    for index in indices:
        if len(found) == most or index >= len(source):
            break
        try:
            found.append(normalize(source.images[index]))
        except UserError:
            continue
    return found


def _augmented(data: "ImageData", images: Tensor) -> Tensor | None:
    augmentations = data.augmentations()
    if not augmentations:
        return None
    with preserved_rng():
        seed_all("inspect", data.seed)
        return augmented(images.flatten(0, 1), augmentations).unflatten(0, images.shape[:2])
