"""Where the samples of an evaluation come from: a model, or image files that something else has made."""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from lightning_gen.randomness import generator, seed_all

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


class Sampler(Protocol):
    """Gives the `size` samples from number `start` on, in [-1, 1], and the labels they are meant to have, if any."""

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]: ...


class ModelSampler:
    """Draws from a model. Batches are seeded by their place: samples are the same for any number of processes."""

    def __init__(self, model: "ImageGenerator", data: "ImageData", split: str, n: int, seed: int):
        self.model = model
        self.seed = seed
        self.labels = self._labels(data, split, n)

    def _labels(self, data: "ImageData", split: str, n: int) -> Tensor | None:
        """Labels in the proportions of the split: uniform if it has none, None for an unconditional model."""
        if self.model.num_classes is None:
            return None
        labels = data.sources[split].labels
        labels = torch.arange(self.model.num_classes) if labels is None else labels.cpu().sort().values
        evenly = ((torch.arange(n) + 0.5) * len(labels) / n).long()
        order = torch.randperm(n, generator=generator("evaluate", self.seed, "labels"))
        return labels[evenly][order].to(self.model.device)

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]:
        seed_all("evaluate", self.seed, "samples", start)
        labels = None if self.labels is None else self.labels[start : start + size]
        return self.model.sample(size, labels), labels


class FileSampler:
    """Takes the images of a split of `data` in their order."""

    def __init__(self, data: "ImageData", split: str, device: torch.device):
        self.batches = lambda index: next(iter(data.sources[split].batches([index], device)))

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]:
        from lightning_gen.data.augment import normalize

        images, labels = self.batches(torch.arange(start, start + size))
        return normalize(images), labels
