"""Fixed splits for data sets without official ones."""

import hashlib
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from lightning_gen.data.image_data import SPLITS
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator

SplitBy = Literal["path", "number"]
Item = TypeVar("Item")
MANY = 1000  # images, of which each split gets its fraction or nearly so


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


def missing_fractions(present: Container[str], fractions: list[float]) -> dict[str, float]:
    """The fractions of the splits that are not present and must be taken from the training images."""
    return {split: fraction for split, fraction in zip(SPLITS, fractions, strict=True) if split not in present}


@dataclass
class Pool:
    """The items of `train`, by their `paths` relative to the root, from which splits that are not `present` are drawn.

    By `path`, a hash of an item's path alone decides its split, whatever else there is; each split gets about its
    fraction. By `number`, splits get exactly their fractions of a shuffled list, so that nearly all items change places
    when one is added.
    """

    paths: list[str]
    present: list[str]
    fractions: list[float]
    seed: int
    split_by: SplitBy

    def draw(self, parts: Mapping[str, list[Item]]) -> dict[str, list[Item]]:
        """`parts`, those of `present`, in which the splits that are missing are taken from `train`."""
        if self.split_by == "path":
            indices = self._by_path(self.seed)
        else:
            drawn = split_indices(len(self.paths), missing_fractions(self.present, self.fractions), self.seed)
            indices = {split: part.tolist() for split, part in drawn.items()}
        return dict(parts) | {split: [parts["train"][index] for index in part] for split, part in indices.items()}

    def notes(self) -> list[str]:
        """A line if another number of items gives other splits."""
        drawn = any(missing_fractions(self.present, self.fractions).values())
        by_number = self.split_by == "number" and drawn
        return ["split_by=number: one file more or less, and the splits are drawn anew"] if by_number else []

    def fix_for(self, split: str) -> str:
        """What gives a split more images, as the end of an error message."""
        if split != "train" and split in self.present:
            return f"add images to the folder of {split}, or remove it to take them from train"
        seed = self._seed()
        return "set data.split" + ("" if seed is None else f", or data.seed={seed} to draw others")

    def _by_path(self, seed: int) -> dict[str, list[int]]:
        # The interval of a split that is present stays `train`: the others don't depend on it.
        _, val, test = self.fractions
        indices: dict[str, list[int]] = {split: [] for split in SPLITS if split not in self.present or split == "train"}
        for index in torch.randperm(len(self.paths), generator=generator("split", seed)).tolist():
            place = _place(self.paths[index], seed)
            split = "val" if place < val else "test" if place < val + test else "train"
            indices[split if split in indices else "train"].append(index)
        return indices

    def _seed(self) -> int | None:
        """The first seed by which each split that is drawn by path gets the two items of a comparison, if any."""
        few = self.split_by == "path" and len(self.paths) <= MANY
        wanted = [split for split, share in missing_fractions(self.present, self.fractions).items() if share]
        for seed in range(1000 if few else 0):
            parts = self._by_path(seed)
            if all(len(parts[split]) > 1 for split in ["train", *wanted]):
                return seed
        return None


def _place(path: str, seed: int) -> float:
    """A hash in [0, 1) of a path, the same on systems that decompose letters with accents."""
    name = unicodedata.normalize("NFC", path).encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(b"%d/%b" % (seed, name), digest_size=8).digest()) / 2**64


def digest(names: Sequence[str]) -> str:
    """A hash of names in any order, to notice that a data set has changed."""
    return hashlib.blake2b("\n".join(sorted(names)).encode(errors="surrogateescape"), digest_size=8).hexdigest()
