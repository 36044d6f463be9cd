"""White sprites on black with five known factors, after dSprites, https://github.com/google-deepmind/dsprites-dataset.

Drawn by us: the factors, their numbers of levels and their order are those of the published images, the outlines not.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.factors import FactorData

RADIUS = 0.38  # of the largest sprite; the image is 2 wide
SMALLEST = 0.5  # scale, as in dSprites


@dataclass(kw_only=True, eq=False, repr=False)
class DSprites(FactorData):
    """`size` pixels a side; `levels` are of shape (a square, an ellipse, a heart), scale, orientation, x and y."""

    name = "dsprites"
    factor_names = ("shape", "scale", "orientation", "x", "y")
    label_names = ("square", "ellipse", "heart")

    size: PositiveInt

    def scene(self) -> "Sprites":
        """What draws the sprites."""
        return Sprites(self.size, tuple(self.levels))


class Sprites:
    """A sprite in each image: a pixel is white if its center is inside."""

    def __init__(self, size: int, sizes: tuple[int, ...]) -> None:
        self.size = size
        self.sizes = sizes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """One gray channel."""
        return 1, self.size, self.size

    def to(self, device: torch.device) -> "Sprites":
        """Itself: it has no tensors."""
        return self

    def render(self, levels: Tensor) -> Tensor:
        """Levels `(B, 5)` to uint8 `(B, 1, size, size)`."""
        part = levels / levels.new_tensor(self.sizes).sub(1).clamp(min=1)  # 0 to 1, the ends included
        radius = RADIUS * (SMALLEST + (1 - SMALLEST) * part[:, 1, None, None])
        angle = (2 * math.pi * levels[:, 2] / self.sizes[2])[:, None, None]
        x, y = ((2 * part[:, n, None, None] - 1) * (1 - RADIUS) for n in (3, 4))
        axis = (torch.arange(self.size, device=levels.device) + 0.5) * 2 / self.size - 1
        right, up = axis - x, -axis[:, None] - y  # (B, 1, size) and (B, size, 1)
        u = (angle.cos() * right + angle.sin() * up) / radius
        v = (angle.cos() * up - angle.sin() * right) / radius
        inside = torch.stack([_in_square(u, v), _in_ellipse(u, v), _in_heart(u, v)], 1)
        chosen = inside[torch.arange(len(levels), device=levels.device), levels[:, 0]]
        return chosen[:, None].to(torch.uint8) * 255


# Whether points are inside of outlines that touch the unit circle.


def _in_square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= math.sqrt(0.5)


def _in_ellipse(u: Tensor, v: Tensor) -> Tensor:
    return u.square() + (2 * v).square() <= 1


def _in_heart(u: Tensor, v: Tensor) -> Tensor:
    x, y = 1.25 * u, 1.25 * v + 0.1
    return (x.square() + y.square() - 1) ** 3 <= x.square() * y**3
