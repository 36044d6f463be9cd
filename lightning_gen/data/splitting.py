"""Fixed splits for data sets without official ones."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_gen.data.image_data import SPLITS
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator


def check_fractions(fractions: list[float]) -> None:
    """UserError unless `fractions` are three that sum to 1."""
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UserError(f"data.split={list(fractions)}: give three fractions that sum to 1, as [0.8,0.1,0.1]")


def split_indices(count: int, fractions: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Shuffle `range(count)` and give each split its fraction; the rest is `train`."""
    order = torch.randperm(count, generator=generator("split", seed))
    sizes = [round(fraction * count) for fraction in fractions.values()]
    *parts, rest = order.split([*sizes, count - sum(sizes)])
    return dict(zip(fractions, parts, strict=True)) | {"train": rest}


def missing_fractions(present: Mapping[str, object], fractions: list[float]) -> dict[str, float]:
    """The fractions of the splits that are not present and must be taken from the training images."""
    return {split: fraction for split, fraction in zip(SPLITS, fractions, strict=True) if split not in present}
