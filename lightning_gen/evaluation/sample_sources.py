"""Sources of the samples of an evaluation: a model, or image files."""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from lightning_gen.data.augment import normalize
from lightning_gen.randomness import generator, seed_all

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


class Sampler(Protocol):
    """Returns `size` samples, the first with index `start`, in [-1, 1], and the labels `(size,)` asked for, if any."""

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]: ...


class ModelSampler:
    """Samples from a model; batches are seeded by `start`, so samples are the same for any number of ranks."""

    def __init__(self, model: "ImageGenerator", data: "ImageData", split: str, n: int, seed: int):
        self.model = model
        self.seed = seed
        self.labels = self._labels(data, split, n)

    def _labels(self, data: "ImageData", split: str, n: int) -> Tensor | None:
        """Labels in the proportions of the split, of the training images if it has none, else uniform.

        None for an unconditional model.
        """
        if self.model.num_classes is None:
            return None
        labels = next((data.sources[name].labels for name in (split, "train") if data.has_labels(name)), None)
        labels = torch.arange(self.model.num_classes) if labels is None else labels.cpu().sort().values
        quantiles = ((torch.arange(n) + 0.5) * len(labels) / n).long()
        order = torch.randperm(n, generator=generator("evaluate", self.seed, "labels"))
        return labels[quantiles][order].to(self.model.device)

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]:
        seed_all("evaluate", self.seed, "samples", start)
        labels = None if self.labels is None else self.labels[start : start + size]
        return self.model.sample(size, labels), labels


class FileSampler:
    """Returns the images of a split of `data` in their order."""

    def __init__(self, data: "ImageData", split: str, device: torch.device):
        self.source = data.sources[split]
        self.device = device

    def __call__(self, start: int, size: int) -> tuple[Tensor, Tensor | None]:
        images, labels = next(iter(self.source.batches([torch.arange(start, start + size)], self.device)))
        return normalize(images), labels
