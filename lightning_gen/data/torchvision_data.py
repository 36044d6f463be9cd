"""The classic data sets, downloaded by torchvision: MNIST, FashionMNIST, CIFAR-10, CIFAR-100, SVHN and CelebA."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.cache import cache_dir
from lightning_gen.data.decode import ImageFiles, check_format, reason
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import Source, StreamSource, TensorSource
from lightning_gen.data.splitting import split_indices
from lightning_gen.errors import UserError

# The folder below `path` where torchvision looks, and the files that it looks for.
FILES = {
    "mnist": ("MNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
    "fashion_mnist": ("FashionMNIST/raw", "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
    "cifar10": ("", "cifar-10-python.tar.gz"),
    "cifar100": ("", "cifar-100-python.tar.gz"),
    "svhn": ("", "train_32x32.mat and test_32x32.mat"),
    "celeba": ("celeba", "img_align_celeba.zip and its five .txt lists"),
}
_CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


@dataclass(kw_only=True, eq=False, repr=False)
class Torchvision(ImageData):
    """The official training images without `num_val` of them, which are for validation, and the official test split.

    `path` null: the folder `datasets` in the cache.
    """

    dataset: Literal["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn"]
    path: str | None
    num_val: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = self.dataset
        self.root = root_folder(self.path)

    def prepare_data(self) -> None:
        download(self.name, self.root, lambda fetch: [self._open(train, fetch) for train in (True, False)])

    def load(self) -> Mapping[str, Source]:
        train, test = self._open(True), self._open(False)
        self.class_names = [str(name) for name in getattr(train, "classes", range(10))]
        images, labels = _tensors(train)
        if not 0 < self.num_val < len(images):
            raise UserError(f"data.num_val={self.num_val}: give 1 to {len(images) - 1}")
        parts = split_indices(len(images), {"val": self.num_val / len(images)}, self.seed)
        sources = {split: TensorSource(images[part], labels[part]) for split, part in parts.items()}
        return {"train": sources["train"], "val": sources["val"], "test": TensorSource(*_tensors(test))}

    def _open(self, train: bool, fetch: bool = False) -> Any:
        from torchvision import datasets

        if self.dataset == "svhn":
            return datasets.SVHN(str(self.root), split="train" if train else "test", download=fetch)
        return getattr(datasets, _CLASSES[self.dataset])(str(self.root), train=train, download=fetch)


@dataclass(kw_only=True, eq=False, repr=False)
class CelebA(ImageData):
    """Faces, cropped to their central square and resized to `size`; the official split, without attributes."""

    name = "celeba"

    path: str | None
    size: PositiveInt

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format(3, self.size, "crop")
        self.root = root_folder(self.path)

    def prepare_data(self) -> None:
        download(self.name, self.root, lambda fetch: self._open("train", fetch))

    def load(self) -> Mapping[str, Source]:
        names = {split: self._open(name).filename for split, name in OFFICIAL.items()}
        folder = self.root / "celeba" / "img_align_celeba"
        size = (self.size, self.size)
        return {
            split: StreamSource(
                ImageFiles([folder / name for name in files], 3, size, "crop"), num_workers=self.workers()
            )
            for split, files in names.items()
        }

    def _open(self, split: str, fetch: bool = False) -> Any:
        from torchvision import datasets

        return datasets.CelebA(str(self.root), split=split, target_type=[], download=fetch)


OFFICIAL = {"train": "train", "val": "valid", "test": "test"}


def root_folder(path: str | None) -> Path:
    return cache_dir() / "datasets" if path is None else Path(path).expanduser()


def download(name: str, root: Path, open_dataset: Callable[[bool], Any]) -> None:
    """Download the data set unless it is present; `open_dataset(fetch)` raises if it is not present afterwards."""
    from filelock import FileLock

    try:
        open_dataset(False)
        return
    except ImportError as error:
        raise UserError(f"data={name}: {reason(error)}: pip install {error.name or 'it'}") from error
    except (RuntimeError, OSError):
        pass  # not there, or not whole
    except (ValueError, AssertionError, EOFError) as error:
        raise UserError(f"data={name}: the files in {root} are damaged ({reason(error)}): delete them") from error
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):  # the processes of a run all come here
            open_dataset(True)
    except (RuntimeError, OSError, ImportError, ValueError) as error:
        folder, files = FILES[name]
        raise UserError(
            f"data={name}: not in {root}, and it cannot be downloaded ({reason(error)}): "
            f"put {files} into {root / folder}, set data.path to where they are, or fix the network"
        ) from error


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    """uint8 `(N, C, H, W)` and int64 labels of a torchvision data set that is in memory."""
    images = torch.as_tensor(dataset.data)
    labels = torch.as_tensor(dataset.labels if hasattr(dataset, "labels") else dataset.targets).to(torch.int64)
    if images.dim() == 3:  # gray (N, H, W)
        images = images[:, None]
    elif images.shape[-1] == 3:  # (N, H, W, C)
        images = images.permute(0, 3, 1, 2)
    return images.contiguous(), labels
