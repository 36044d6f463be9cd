"""Fixed splits of data sets that come without."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_gen.data.image_data import SPLITS
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator


def check_shares(shares: list[float]) -> None:
    """UserError unless `shares` are three that sum to 1."""
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"data.split={list(shares)}: give three shares that sum to 1, as [0.8,0.1,0.1]")


def carve(count: int, wanted: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Shuffle `range(count)` and give each split in `wanted` its share; the rest is `train`."""
    order = torch.randperm(count, generator=generator("split", seed))
    sizes = [round(share * count) for share in wanted.values()]
    *parts, rest = order.split([*sizes, count - sum(sizes)])
    return dict(zip(wanted, parts, strict=True)) | {"train": rest}


def missing(present: Mapping[str, object], shares: list[float]) -> dict[str, float]:
    """The shares of those splits that are not there and must be carved from the training images."""
    return {split: share for split, share in zip(SPLITS, shares, strict=True) if split not in present}
