"""Samples of a model, batch by batch, and the selection that a grid shows."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.progress import Advance, sampling_progress, silent

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

LARGEST_GRID = 256  # images
MOST_ROWS = 32  # classes with a row each; with more, several share a row


def samples(
    model: "ImageGenerator",
    n: int,
    labels: Tensor | None,
    seed: int,
    batch_size: int,
    advance: Advance = silent,
) -> Iterator[tuple[int, Tensor]]:
    """Yield uint8 images one by one with their index."""
    batches = sample_batches(model, n, labels, seed, batch_size, advance)
    yield from enumerate(image for images in batches for image in to_uint8(images).cpu())


def sample_batches(
    model: "ImageGenerator",
    n: int,
    labels: Tensor | None,
    seed: int,
    batch_size: int,
    advance: Advance = silent,
) -> Iterator[Tensor]:
    """Yield batches of images in [-1, 1]; each is seeded by `seed` and its index."""
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        seed_all("sample", seed, start // batch_size)
        batch_labels = None if labels is None else labels[start : start + size].to(model.device)
        with sampling_progress(model, size, advance):
            images = model.sample(size, batch_labels)
        check_finite(images, model)
        yield images


def check_finite(images: Tensor, model: "ImageGenerator") -> None:
    """UserError for images with NaN or infinity, which are black or white in files."""
    if not images.isfinite().all():
        name = type(model).__name__
        raise UserError(f"checkpoint: images of this {name} hold NaN or infinity, its training diverged; use another")


def spread_labels(classes: list[int] | None, n: int) -> Tensor | None:
    """`n` labels in the order of `classes`, equally many of each up to one; the first `n` if there are more classes."""
    if classes is None:
        return None
    count = min(n, len(classes))
    return torch.tensor(classes[:count])[torch.arange(n) * count // n]


def rows_of(labels: Tensor | None, n: int) -> tuple[list[int], int | None]:
    """Indices of those of `n` images that the grid shows, in order, and its number of columns (None: square).

    Each class has a row. With many classes, or one image of each, several classes share a row.
    """
    classes = [] if labels is None else labels.unique_consecutive()[:LARGEST_GRID].tolist()
    if len(classes) < 2:
        return list(range(min(n, LARGEST_GRID))), None
    indices = torch.arange(n)
    rows = [indices[labels == label].tolist() for label in classes]
    per_class = max(1, min(*map(len, rows), LARGEST_GRID // len(rows), 16))
    shown = [index for row in rows for index in row[:per_class]]
    if per_class == 1 and len(rows) <= 16:
        return shown, len(rows)
    if per_class > 1 and len(rows) <= MOST_ROWS:
        return shown, per_class
    return shown, per_class * math.ceil(math.sqrt(len(rows) / per_class))
