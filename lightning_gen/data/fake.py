"""Synthetic images and sequences for tests: a blob whose color and position depend on its class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gen.bounds import ImageShape, PositiveInt
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.randomness import generator


@dataclass(kw_only=True, eq=False, repr=False)
class Fake(ImageData):
    """`num_images` training images of `image_shape`, (C, H, W) or (T, C, H, W), and a quarter in each other split."""

    name = "fake"

    image_shape: ImageShape
    num_classes: PositiveInt | None
    num_images: PositiveInt

    def load(self) -> Mapping[str, TensorSource]:
        classes = self.num_classes
        if classes is not None:
            self.class_names = [f"blob {number}" for number in range(classes)]
        sizes = {"train": self.num_images, "val": max(1, self.num_images // 4), "test": max(1, self.num_images // 4)}
        sources = {}
        for split, size in sizes.items():
            draw = generator("fake", self.seed, split)
            labels = torch.randint(classes or 10, (size,), generator=draw)
            images = _blobs(labels, classes or 10, tuple(self.image_shape), draw)
            sources[split] = TensorSource(images, labels if classes else None)
        return sources


def _blobs(labels: Tensor, classes: int, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    """A Gaussian spot per label `(N,)`, on a ring around the center, on black; uint8 `(N, *shape)`.

    In sequences it moves along the ring, each at its own speed.
    """
    *frames, channels, height, width = shape
    count = len(labels)
    angle = 2 * math.pi * labels / classes
    jitter = 0.1 * torch.randn(2, count, 1, generator=draw)
    radius = (0.2 + 0.1 * torch.rand(count, generator=draw))[:, None, None, None]
    path = angle[:, None]  # (N, T), of images (N, 1)
    if frames:
        speed = torch.empty(count, 1).uniform_(-0.5, 0.5, generator=draw)
        path = path + speed * torch.arange(*frames)
    row = (0.5 * path.sin() + jitter[0])[:, :, None, None]
    column = (0.5 * path.cos() + jitter[1])[:, :, None, None]
    rows = torch.linspace(-1, 1, height)[:, None]
    columns = torch.linspace(-1, 1, width)
    spot = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))  # (N, T, H, W)
    phase = 2 * math.pi * torch.arange(channels) / max(channels, 1)
    color = 0.6 + 0.4 * torch.cos(angle[:, None] + phase)  # (N, C)
    if channels == 1:
        color = torch.ones(count, 1)
    images = spot[:, :, None] * color[:, None, :, None, None] * 255
    return images.round().to(torch.uint8).view(count, *shape)
