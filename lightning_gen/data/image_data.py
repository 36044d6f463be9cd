"""The base of all data sets: from sources of uint8 (or float [-1, 1]) to float [-1, 1] batches on the device."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from lightning import LightningDataModule

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt, UnitInterval
from lightning_gen.data.augment import Augmentation, Binarize
from lightning_gen.data.inspection import Rows, facts, warnings_of
from lightning_gen.data.loader import EvaluationBatches, TrainBatches
from lightning_gen.data.source import ImageTensor, Source, StreamSource, TensorSource, num_bytes
from lightning_gen.data.source_checks import check_sources
from lightning_gen.errors import UserError, named_failure
from lightning_gen.utilities.foreign import is_foreign
from lightning_gen.utilities.hardware import free_memory, main_memory, num_processors
from lightning_gen.utilities.ranks import Ranks
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen.utilities.text_lists import listed

SPLITS = ("train", "val", "test")
# The fraction of free memory that a data set may take; the rest is the model's.
MEMORY_FRACTION = 1 / 4


# A dataclass, so that each subclass's signature lists the shared keys too and the config check knows them.
@dataclass(kw_only=True, eq=False, repr=False)
class ImageData(LightningDataModule):
    """A data set of three splits; subclasses implement `load`.

    After `setup` these facts hold: `name`; `image_shape`, (C, H, W) or (T, C, H, W) for sequences; `class_names` and
    `num_classes`, None without labels; `split_sizes`, the number of images in each split. `batch_size` counts the
    images of all processes; `seed` determines the split; `black_and_white` tells whether gray is only
    at edges, None if that is not known.
    """

    name: str = field(init=False)  # pyrefly: ignore[bad-override-mutable-attribute]  # Lightning's may be None
    image_shape: tuple[int, ...] = field(init=False)
    num_classes: int | None = field(init=False)
    class_names: list[str] | None = field(init=False)
    split_sizes: dict[str, int] = field(init=False)

    batch_size: PositiveInt
    seed: int
    augment: dict
    augment_share: UnitInterval
    binarize: bool
    in_memory: bool | None
    num_workers: NonNegativeInt | None
    black_and_white: bool | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.run_seed = 0  # set by training, as is steps_per_call
        self.steps_per_call = 1
        self.processes = 1  # that share the memory of this machine
        self.class_names = None
        self.notes: list[str] = []  # lines for the log, by `load`: what is left out, and what may be meant otherwise
        self.digests: dict[str, str] = {}  # hashes of the names of each split's files, by `load`
        self.sources: dict[str, Source] = {}

    def load(self) -> Mapping[str, Source]:
        """The sources of `train`, `val` and `test`; sets `class_names` where there are labels."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.sources:
            return
        loaded = self._load_foreign() if is_foreign(self) else self.load()
        self.sources = {split: self._in_memory_or_not(source) for split, source in loaded.items()}
        self.image_shape = self.sources["train"].image_shape
        self.num_classes = None if self.class_names is None else len(self.class_names)
        self.split_sizes = {split: len(source) for split, source in self.sources.items()}

    def _load_foreign(self) -> Mapping[str, Source]:
        """What `load` of a class that is not ours gives; UserError if it fails or anything is amiss."""
        kind = type(self).__name__
        if type(self).load is ImageData.load:
            raise UserError(f"data: {kind} has no load(), which gives sources of {', '.join(SPLITS)}; write it")
        with named_failure(f"data: {kind}.load()"):
            loaded = self.load()
        if not isinstance(getattr(self, "name", None), str):
            raise UserError(f'data: {kind} has no name; give the class one, as in name = "{kind.lower()}"')
        check_sources(loaded, SPLITS, self.class_names, f"data={self.name}")
        return loaded

    def train_dataloader(self) -> TrainBatches:
        run = self._run
        self.check_batch_size(run.world_size)
        return TrainBatches(
            self._placed("train", run.device),
            batch_size=self.batch_size,
            images_seen=self._images_seen,
            seed=self.run_seed,
            steps_per_call=self.steps_per_call,
            augmentations=self.augmentations(),
            augment_until=self._augment_until(run.max_images),
            device=run.device,
            rank=run.rank,
            world_size=run.world_size,
        )

    def val_dataloader(self) -> EvaluationBatches:
        return self._evaluation_batches("val", self._run.device)

    def batches(
        self, split: str, device: torch.device | str, limit: int | None = None, batch_size: int | None = None
    ) -> Iterator[Batch]:
        """One pass over this process's part of (the first `limit` images of) a split, in a fixed order.

        With a `batch_size` the batches are the same for any number of processes, which take turns.
        """
        return iter(self._evaluation_batches(split, torch.device(device), limit, batch_size))

    def transfer_batch_to_device(self, batch: list[Batch], device: torch.device, dataloader_idx: int) -> list[Batch]:
        return batch  # it is there already

    def inspect(self) -> Rows:
        """What the `inspect` command prints."""
        self.setup()
        rows = facts(self.name, self.image_shape, self.sources, self.class_names)
        rows += [("notes", listed(self.notes))] if self.notes else []
        return rows + [("warning", line) for line in warnings_of(self.sources["train"], self.class_names)]

    def fix_for(self, split: str) -> str:
        """What gives a split more images, as the end of an error message."""
        return "give it a fraction in data.split"

    def has_labels(self, split: str) -> bool:
        """Whether the images of a split have labels: those of a test set may lack them."""
        return self.num_classes is not None and self.sources[split].labels is not None

    def contents(self) -> dict[str, Any]:
        """What the data set holds, as plain data by which a later change of it can be noticed."""
        splits = {split: [size, self.digests.get(split)] for split, size in self.split_sizes.items()}
        return {"name": self.name, "splits": splits}

    def match_classes(self, known: Sequence[str], origin: str) -> list[str]:
        """Number the labels by the class names `known` of `origin`, and new ones after them; lines about differences.

        If no name is known, labels keep their numbers.
        """
        names = self.class_names or []
        if names == list(known):
            return []
        new = [name for name in names if name not in known]
        gone = [name for name in known if name not in names]
        if known and (new == names or len(set(names)) < len(names)):
            other = f"has other classes than {origin}; labels go by their numbers"
            return [other if names else f"has no classes, unlike {origin}"]
        if names:
            self._use_class_names([*known, *new])
        told = [f"{how} {listed(which, ', ')}" for how, which in (("lacks", gone), ("adds", new)) if which]
        return [f"has other classes than {origin}: {' and '.join(told)}"] if told else []

    def _use_class_names(self, names: list[str]) -> None:
        numbers = torch.tensor([names.index(name) for name in self.class_names or []])
        for source in self.sources.values():
            if source.labels is not None:
                source.labels = numbers.to(source.labels.device)[source.labels]
        self.class_names = names
        self.num_classes = len(names)

    def check_split(self, split: str) -> None:
        """Raise UserError unless there is such a split."""
        if split not in self.sources:
            fix = did_you_mean(split, self.sources) or f", choose from {', '.join(self.sources)}"
            raise UserError(f"split={split}: no such split{fix}")

    def check_images(self, split: str) -> None:
        """Raise UserError if a split has no images."""
        if not len(self.sources[split]):
            raise UserError(f"split={split}: data={self.name} has no images in it, {self.fix_for(split)}")

    def check_labels(self, split: str) -> None:
        """Raise UserError if the images of a split have no labels, though the training images may have."""
        if not self.has_labels(split):
            raise UserError(f"split={split}: data={self.name} has no labels in it, which the model needs; label it")

    def check_shape(self, image_shape: Sequence[int], source: str = "the model makes") -> None:
        """Raise UserError unless images have the shape `image_shape` of `source`."""
        actual, expected = tuple(self.image_shape), tuple(image_shape)
        if actual != expected:
            raise UserError(f"data={self.name}: images are {actual}, {source} {expected}; give data of that shape")

    def _evaluation_batches(
        self, split: str, device: torch.device, limit: int | None = None, batch_size: int | None = None
    ) -> EvaluationBatches:
        self.check_split(split)
        self.check_images(split)
        return EvaluationBatches(
            self._placed(split, device),
            batch_size=batch_size or self.batch_size,
            limit=limit,
            binarize=self.binarize,
            device=device,
            rank=self._run.rank,
            world_size=self._run.world_size,
            whole_batches=batch_size is not None,
        )

    def augmentations(self) -> list[Augmentation]:
        """Those of training, binarization included."""
        chosen = [augmentation for augmentation in self.augment.values() if augmentation is not None]
        return [*chosen, Binarize()] if self.binarize else chosen

    def _augment_until(self, max_images: int | None) -> float:
        return math.inf if max_images is None or self.augment_share == 1 else max_images * self.augment_share

    def check_batch_size(self, processes: int) -> None:
        """UserError unless there are enough training images for a batch and `processes` divides its size."""
        size, images = self.batch_size, len(self.sources["train"])
        if images < size:
            raise UserError(
                f"data.batch_size={size}: data={self.name} has only {images} training images, "
                f"set data.batch_size={max(1, images)} or less"
            )
        if 0 < self.split_sizes["val"] < processes:
            raise UserError(f"data={self.name}: {processes} processes need at least {processes} validation images")
        if size % processes:
            fix = max(1, size // processes) * processes
            raise UserError(
                f"data.batch_size={size}: {processes} processes cannot share it evenly, set data.batch_size={fix}"
            )

    def _in_memory_or_not(self, source: Source) -> Source:
        if self.in_memory is False and isinstance(source, TensorSource):
            return StreamSource(source.images, source.labels, self.workers())
        if self.in_memory is not False and isinstance(source, StreamSource):
            # Each process holds its own copy, unless it is mapped from a file. Several must decide alike, but while
            # some load, less is free for others.
            copies = 1 if isinstance(source.images, ImageTensor) else self.processes
            memory = free_memory(torch.device("cpu")) if self.processes == 1 else main_memory() / copies
            fits = num_bytes(source) <= MEMORY_FRACTION * memory
            if self.in_memory or fits:
                return source.in_memory()
        return source

    def _placed(self, split: str, device: torch.device) -> Source:
        """The split's source, moved to the device for good where it fits."""
        source = self.sources[split]
        if not isinstance(source, TensorSource) or source.index_device.type != "cpu" or device.type == "cpu":
            return source
        if self.in_memory or num_bytes(source) <= MEMORY_FRACTION * free_memory(device):
            self.sources[split] = source.to(device)
        return self.sources[split]

    def workers(self) -> int:
        """The number of processes (or threads) that decode images."""
        return min(8, num_processors()) if self.num_workers is None else self.num_workers

    def __getattr__(self, name: str) -> Any:
        if name != "num_images":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        warnings.warn("num_images is now split_sizes; the old name goes away in 0.2", DeprecationWarning, stacklevel=2)
        return self.split_sizes

    @property
    def _run(self) -> "_Run":
        """The run that these data belong to; without a trainer it is on the CPU, with the ranks there are."""
        if self.trainer is None:
            ranks = Ranks()
            return _Run(torch.device("cpu"), rank=ranks.rank, world_size=ranks.size, max_images=None)
        return _Run(
            self.trainer.strategy.root_device,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            max_images=getattr(self.trainer, "max_images", None),
        )

    def _images_seen(self) -> int:
        return getattr(self.trainer and self.trainer.lightning_module, "images_seen", 0)


class _Run(NamedTuple):
    device: torch.device
    rank: int
    world_size: int
    max_images: int | None
