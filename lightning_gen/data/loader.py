"""The order of images: an endless stream for training, finite passes for evaluation.

Training batch b is a function of (seed, b) alone, of which each rank has its rows; so a resumed run jumps to its place
and replays nothing.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.data.augment import Augmentation, Binarize, augmented, normalize
from lightning_gen.data.source import Source, is_endless
from lightning_gen.randomness import generator, seed_all
from lightning_gen.utilities.renames import renamed
from lightning_gen.utilities.whole_batch import whole_batch

__getattr__ = renamed(__name__)


def shuffled(source: Source, draw: torch.Generator) -> Tensor:
    """A random order of a source's images `(N,)`; images that are read in groups choose one of their own."""
    order = getattr(source.images, "pass_order", None)
    return torch.randperm(len(source), generator=draw) if order is None else order(draw)


class LazyBatches:
    """Batches of which each is made when its turn comes: K batches of floats take four times the memory of bytes."""

    def __init__(self, makers: list[Callable[[], Batch]]) -> None:
        self.makers = makers

    def __len__(self) -> int:
        return len(self.makers)

    def __getitem__(self, index: int) -> Batch:
        return self.makers[index]()

    def __iter__(self) -> Iterator[Batch]:
        return (make() for make in self.makers)


class TrainBatches:
    """`steps_per_call` batches at a time, without end; it has no length, so Lightning never starts it over.

    `batch_size` counts the images of all ranks; each rank yields every `world_size`-th of them. From `augment_until`
    images on, only binarization is applied, which is a part of the data, and no augmentation.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        images_seen: Callable[[], int] = lambda: 0,
        seed: int = 0,
        steps_per_call: int = 1,
        augmentations: list[Augmentation] | None = None,
        augment_until: float = math.inf,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.images_seen = images_seen
        self.seed = seed
        self.steps_per_call = steps_per_call
        self.augmentations = augmentations or []
        self.augment_until = augment_until
        self.device = torch.device(device)
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[LazyBatches]:
        # Read only now: the checkpoint is loaded after the data loader is made.
        first = int(self.images_seen()) // self.batch_size
        raw = self.source.batches(self.index_batches(first), self.device)
        numbers = count(first)
        while True:
            yield LazyBatches([partial(self._batch, next(numbers), *next(raw)) for _ in range(self.steps_per_call)])

    def index_batches(self, first: int) -> Iterator[Tensor]:
        """This rank's indices `(batch_size // world_size,)` of the batches `first`, `first + 1`, ... without end."""
        if is_endless(self.source):
            yield from self._endless_batches(first)
        per_epoch = len(self.source) // self.batch_size
        start = first % per_epoch
        for epoch in count(first // per_epoch):
            order = shuffled(self.source, generator("order", self.seed, epoch))
            # The whole epoch's order goes to the device at once: no copy, no wait in a step.
            order = order[: per_epoch * self.batch_size].to(self.source.index_device)
            yield from order.view(per_epoch, self.batch_size)[start:, self.rank :: self.world_size].contiguous()
            start = 0

    def _endless_batches(self, first: int) -> Iterator[Tensor]:
        """Batches of an infinite source: batch b takes the next `batch_size` images from a seeded offset."""
        start = int(torch.randint(2**31, (), generator=generator("order", self.seed)))
        for number in count(first):
            low = start + number * self.batch_size
            high = low + self.batch_size
            yield torch.arange(low + self.rank, high, self.world_size, device=self.source.index_device)

    def _batch(self, number: int, images: Tensor, labels: Tensor | None) -> Batch:
        augmentations = self.augmentations
        if number * self.batch_size >= self.augment_until:
            augmentations = [a for a in augmentations if isinstance(a, Binarize)]
        if augmentations:
            seed_all("data", self.seed, number, 0)
        with whole_batch(self.rank, self.world_size, len(images)):
            return Batch(augmented(images, augmentations), labels)


class EvaluationBatches:
    """One pass over (the first `limit` images of) a source in a fixed order, not augmented.

    The order is shuffled once and for all: sources may be sorted by class, and a limited pass must see every class.
    A rank takes every `world_size`-th image, or with `whole_batches` every `world_size`-th batch: those batches are the
    same for any number of ranks.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        limit: int | None = None,
        binarize: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        whole_batches: bool = False,
    ) -> None:
        self.source = source
        self.device = torch.device(device)
        self.binarize = binarize
        order = shuffled(source, generator("evaluation order"))[:limit]
        if whole_batches:
            self.index_batches = order.split(batch_size)[rank::world_size]
        else:
            indices = order[rank::world_size]
            self.index_batches = indices.split(max(1, batch_size // world_size)) if len(indices) else ()

    def __len__(self) -> int:
        return len(self.index_batches)

    def __iter__(self) -> Iterator[Batch]:
        on_device = (index.to(self.source.index_device) for index in self.index_batches)
        raw = self.source.batches(on_device, self.device)
        binarize = Binarize()
        for index, (images, labels) in zip(self.index_batches, raw, strict=True):
            images = normalize(images)
            if self.binarize:
                images = binarize.fixed(images, index.to(self.device))
            yield Batch(images, labels)
