"""Samples of a model, batch by batch, and which of them a grid shows."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gen.images import to_uint8
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.progress import Advance, sampling_progress, silent

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


def samples(
    model: "ImageGenerator",
    n: int,
    labels: Tensor | None,
    seed: int,
    batch_size: int,
    advance: Advance = silent,
) -> Iterator[tuple[int, Tensor]]:
    """Yield uint8 images one by one with their number; each batch is seeded from (`seed`, the batch's number)."""
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        seed_all("sample", seed, start // batch_size)
        given = None if labels is None else labels[start : start + size].to(model.device)
        with sampling_progress(model, size, advance):
            images = to_uint8(model.sample(size, given)).cpu()
        yield from enumerate(images, start)


def rows_of(labels: Tensor | None, n: int) -> tuple[list[int], int | None]:
    """Which of `n` images the grid shows, in order, and its number of columns (None: square).

    Each class has a row. Where there are many classes, or one image of each, several share a row.
    """
    classes = [] if labels is None else labels.unique_consecutive()[:LARGEST_GRID].tolist()
    if len(classes) < 2:
        return list(range(min(n, LARGEST_GRID))), None
    numbers = torch.arange(n)
    rows = [numbers[labels == label].tolist() for label in classes]
    share = max(1, min(*map(len, rows), LARGEST_GRID // len(rows), 16))
    shown = [number for row in rows for number in row[:share]]
    if share == 1 and len(rows) <= 16:
        return shown, len(rows)
    if share > 1 and len(rows) <= MOST_ROWS:
        return shown, share
    return shown, share * math.ceil(math.sqrt(len(rows) / share))


LARGEST_GRID = 256  # images


MOST_ROWS = 32  # classes under each other before they stand side by side too
