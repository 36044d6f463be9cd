"""Synthetic discs, squares and crosses: nothing is downloaded."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.randomness import generator

SHAPES = ("disc", "square", "cross")


@dataclass(kw_only=True, eq=False, repr=False)
class MyOption(ImageData):
    """`num_images` gray training images of `size` x `size` pixels, and a quarter of that number in each other split."""

    name = "my_option"

    size: int
    num_images: int

    def load(self) -> dict[str, TensorSource]:
        self.class_names = list(SHAPES)
        counts = {"train": self.num_images, "val": self.num_images // 4, "test": self.num_images // 4}
        return {split: self.render(split, count) for split, count in counts.items()}

    def render(self, split: str, count: int) -> TensorSource:
        """`count` images, the same for the same seed: random numbers come from a generator of their own."""
        random = generator("my_option", self.seed, split)
        labels = torch.randint(len(SHAPES), (count,), generator=random)
        center = torch.rand(2, count, 1, 1, generator=random) * 0.8 - 0.4
        radius = torch.rand(count, 1, 1, generator=random) * 0.3 + 0.2
        axis = torch.linspace(-1, 1, self.size)
        inside = distances(axis[:, None] - center[0], axis - center[1], labels) < radius  # (N, H, W)
        return TensorSource(inside[:, None].to(torch.uint8) * 255, labels)


def distances(y: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    """Distances from the center, `(N, H, W)`, in the norms whose unit balls are the shapes of `labels`, `(N,)`."""
    disc = (y.square() + x.square()).sqrt()
    square = torch.maximum(y.abs(), x.abs())
    cross = torch.maximum(square, 3 * torch.minimum(y.abs().expand_as(square), x.abs().expand_as(square)))
    return torch.stack([disc, square, cross])[labels, torch.arange(len(labels))]
