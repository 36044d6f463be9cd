"""Images of which all factors of variation are known: one for each combination of their levels, drawn on demand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.augment import normalize
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator


class Factor(NamedTuple):
    """A factor of variation with so many levels, which have an order unless it is `categorical`."""

    name: str
    levels: int
    categorical: bool


class Scene(Protocol):
    """Draws images from the levels of their factors."""

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def render(self, levels: Tensor) -> Tensor:
        """Levels `(B, number of factors)` to uint8 images `(B, C, H, W)`, on the device of the levels."""
        ...

    def to(self, device: torch.device) -> Self: ...


@dataclass(kw_only=True, eq=False, repr=False)
class FactorData(ImageData):
    """Base of such data: a grid of `levels` of each factor, shuffled by `seed`; `num_test` images for each other split.

    `num_images` limits the training images; None for all that are left. Labels are the levels of the factor `labeled`,
    which `label_names` name; `factors` describes all of them, and `levels_of(split)` gives theirs. A subclass has the
    names of its factors in `factor_names`, and makes its `scene`.
    """

    levels: list[PositiveInt]
    num_images: PositiveInt | None
    num_test: PositiveInt

    factor_names: ClassVar[tuple[str, ...]]
    labeled: ClassVar[str] = "shape"
    label_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        names, most = self.factor_names, len(self.label_names)
        if len(self.levels) != len(names):
            raise UserError(f"data.levels={list(self.levels)}: give {len(names)} numbers, of {', '.join(names)}")
        if self.levels[names.index(self.labeled)] > most:
            raise UserError(f"data.levels={list(self.levels)}: there are {most} shapes, {', '.join(self.label_names)}")
        count = math.prod(self.levels)
        if count <= 2 * self.num_test:
            fix = f"give less than data.num_test={max(1, count // 2)}, or more levels"
            raise UserError(f"data.num_test={self.num_test}: there are {count} images, none is left to train; {fix}")

    @property
    def factors(self) -> list[Factor]:
        """The factors in the order of `levels`."""
        pairs = zip(self.factor_names, self.levels, strict=True)
        return [Factor(name, levels, name == self.labeled) for name, levels in pairs]

    def scene(self) -> Scene:
        """What draws the images."""
        raise NotImplementedError

    def load(self) -> Mapping[str, TensorSource]:
        order = torch.randperm(math.prod(self.levels), generator=generator(self.name, self.seed))
        val, test, train = order.split([self.num_test, self.num_test, len(order) - 2 * self.num_test])
        self._scene = self.scene()
        shapes = self.levels[self.factor_names.index(self.labeled)]
        self.class_names = list(self.label_names[:shapes])
        parts = {"train": train[: self.num_images], "val": val, "test": test}
        return {split: self._source(index) for split, index in parts.items()}

    def _source(self, index: Tensor) -> TensorSource:
        images = DrawnImages(self._scene, tuple(self.levels), index)
        return TensorSource(images, images.levels[:, self.factor_names.index(self.labeled)])

    def levels_of(self, split: str) -> Tensor:
        """The level of each factor of the images of a split, int64 `(N, number of factors)`."""
        images = self.sources[split].images
        assert isinstance(images, DrawnImages)
        return images.levels

    def draw(self, levels: Tensor) -> Tensor:
        """The images with these levels `(B, number of factors)`, in [-1, 1]."""
        return normalize(self._scene.to(levels.device).render(levels))


class DrawnImages:
    """The images of a grid of `sizes` at the places `index` `(N,)`, drawn when they are gathered: an `ImageTensor`."""

    def __init__(self, scene: Scene, sizes: tuple[int, ...], index: Tensor) -> None:
        self.scene = scene
        self.sizes = sizes
        self.index = index
        self.shape = torch.Size([len(index), *scene.image_shape])
        self.image_shape = scene.image_shape
        self.device = index.device
        self.nbytes = index.nbytes

    @property
    def levels(self) -> Tensor:
        """The level of each factor, `(N, number of factors)`."""
        return torch.stack(torch.unravel_index(self.index, self.sizes), 1)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Tensor:
        return self.index_select(0, torch.tensor([index], device=self.device))[0]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Images `(B, C, H, W)`; `dim` is 0."""
        places = torch.unravel_index(self.index.index_select(0, index), self.sizes)
        return self.scene.render(torch.stack(places, 1))

    def to(self, device: torch.device) -> "DrawnImages":
        """The same on a device."""
        return DrawnImages(self.scene.to(device), self.sizes, self.index.to(device))
