"""Points from a mixture of Gaussians in the plane, whose modes can be counted, https://arxiv.org/abs/1611.02163, 3.1.

The grid of 25 and both standard deviations are from https://arxiv.org/abs/1705.07761, section 4.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.randomness import generator

STD = {"ring": 0.02, "grid": 0.05}
HELD_OUT = 10_000  # points in each of the other splits
MARGIN = 10  # standard deviations between the outermost centers and the edge of [-1, 1]


@dataclass(kw_only=True, eq=False, repr=False)
class Gaussians(ImageData):
    """8 modes on a ring of radius 2, or 25 on a grid of spacing 2; the same number of points in each, labeled by mode.

    The plane is scaled so that the points lie in [-1, 1]; a point is a float image `(1, 1, 2)`, since 8 bits are too
    coarse for it. `centers` `(M, 2)` and `std` describe the scaled points.
    """

    name = "gaussians"

    layout: Literal["ring", "grid"]
    num_images: PositiveInt

    def __post_init__(self) -> None:
        super().__post_init__()
        centers, std = _ring() if self.layout == "ring" else _grid(), STD[self.layout]
        scale = 1 / (centers.abs().max().item() + MARGIN * std)
        self.centers, self.std = centers * scale, std * scale

    def load(self) -> Mapping[str, TensorSource]:
        self.class_names = [f"mode {number}" for number in range(len(self.centers))]
        sizes = {"train": self.num_images, "val": HELD_OUT, "test": HELD_OUT}
        return {split: self._source(split, size) for split, size in sizes.items()}

    def _source(self, split: str, size: int) -> TensorSource:
        labels = torch.arange(size) % len(self.centers)
        noise = torch.randn(size, 2, generator=generator("gaussians", self.seed, self.layout, split))
        points = self.centers[labels] + self.std * noise  # (N, 2)
        return TensorSource(points.clamp(-1, 1).view(-1, 1, 1, 2), labels)


def _ring() -> Tensor:
    angle = 2 * math.pi * torch.arange(8) / 8
    return 2 * torch.stack([angle.cos(), angle.sin()], 1)


def _grid() -> Tensor:
    side = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(side, side)
