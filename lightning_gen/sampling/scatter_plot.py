"""Scatter plots of data that are points in the plane."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

SIDE = 256  # pixels
SMALLEST_PICTURE = 4  # pixels a side; below it images are points


def are_points(image_shape: tuple[int, ...]) -> bool:
    """Whether images of this shape are too small for pictures, but have two values or more."""
    return min(image_shape[-2:]) < SMALLEST_PICTURE and torch.Size(image_shape).numel() >= 2


def scatter(layers: Iterable[tuple[Tensor, float]]) -> Tensor:
    """A picture `(1, 256, 256)` in [-1, 1] of the square [-1, 1]^2, with the second axis upwards.

    Each layer is images `(B, ...)` whose first two values are a point, and the brightness (0 to 1) of dense regions.
    Points outside of the square lie on its border.
    """
    return torch.stack([brightness * _dots(images) for images, brightness in layers]).amax(0) * 2 - 1


def _dots(images: Tensor) -> Tensor:
    """Density `(1, 256, 256)` from 0 without points to 1 with many; a point is 2 x 2 pixels."""
    x, y = images.flatten(1)[:, :2].float().nan_to_num(0).clamp(-1, 1).T
    column, row = (((axis + 1) / 2 * (SIDE - 1)).round().long() for axis in (x, -y))
    counts = torch.bincount(row * SIDE + column, minlength=SIDE * SIDE).view(1, SIDE, SIDE).float()
    return max_pool2d(1 - 0.5**counts, 2, stride=1, padding=1)[:, :SIDE, :SIDE]
