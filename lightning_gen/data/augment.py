"""Augmentations of whole batches on their device, each image with its own random numbers from the global generator.

They map `(B, C, H, W)`, or sequences `(B, T, C, H, W)` whose frames share random numbers, float in [-1, 1], to the same
shape; those with `takes_bytes` also map uint8, a quarter of the memory.
"""

import math
from collections.abc import Iterable
from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.randomness import hashed_noise
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)


class Augmentation(Protocol):
    """A function of batches; `takes_bytes = True` declares that it treats uint8 as it does floats."""

    def __call__(self, images: Tensor) -> Tensor: ...


def normalize(images: Tensor) -> Tensor:
    """uint8 to float32 in [-1, 1]; floats, from a source or an augmentation, are in that range and pass through."""
    if images.dtype != torch.uint8:
        return images
    # On a CPU three times as fast as division; both ends of the range are exact.
    return images.to(torch.float32).mul_(1 / 127.5).sub_(1)


def augmented(images: Tensor, augmentations: Iterable[Augmentation]) -> Tensor:
    """Apply `augmentations` in order, and normalize as late as they allow."""
    for augmentation in augmentations:
        takes_bytes = getattr(augmentation, "takes_bytes", False)
        images = augmentation(images if takes_bytes else normalize(images))
    return normalize(images)


def _black(images: Tensor) -> int:
    return 0 if images.dtype == torch.uint8 else -1


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """A random number per image or sequence, `(B, 1, 1, 1)` or `(B, 1, 1, 1, 1)`."""
    return torch.empty((len(images), *[1] * (images.ndim - 1)), device=images.device).uniform_(low, high)


def _frames_as_channels(images: Tensor) -> Tensor:
    """Sequences as images `(B, T * C, H, W)`, for operations that treat all channels alike; images unchanged."""
    return images.flatten(1, -3)


class Flip:
    """Mirror each image left to right with probability `p`."""

    takes_bytes = True

    def __init__(self, p: UnitInterval = 0.5) -> None:
        self.p = p

    def __call__(self, images: Tensor) -> Tensor:
        mirrored = torch.rand(len(images), device=images.device) < self.p
        # Gathering whole images from both versions is five times as fast as torch.where, without a device sync.
        choice = torch.arange(len(images), device=images.device) + mirrored * len(images)
        return torch.cat([images, images.flip(-1)]).index_select(0, choice)


class Crop:
    """Pad by `padding` pixels on each side, by reflection or with black (`zero`), and crop at a random position."""

    takes_bytes = True

    def __init__(self, padding: NonNegativeInt, mode: Literal["reflect", "zero"] = "reflect") -> None:
        self.padding = padding
        self.mode = mode

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        rows, row_inside = self._coordinates(images, height)  # (B, H)
        columns, column_inside = self._coordinates(images, width)  # (B, W)
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        planes = _frames_as_channels(images).permute(0, 2, 3, 1)
        moved = planes[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        if self.mode == "zero":
            inside = (row_inside[:, :, None] & column_inside[:, None, :])[:, None]
            moved = torch.where(inside, moved, _black(images))
        return moved.contiguous().view(images.shape)

    def _coordinates(self, images: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Source coordinates of each image along one axis `(B, length)`, and whether they lie inside the image."""
        shift = torch.randint(-self.padding, self.padding + 1, (len(images), 1), device=images.device)
        places = torch.arange(length, device=images.device) + shift
        inside = (places >= 0) & (places < length)
        if self.mode == "zero":
            return places.clamp(0, length - 1), inside
        period = max(2 * (length - 1), 1)
        places = places % period
        return torch.minimum(places, period - places).clamp(max=length - 1), inside


class Jitter:
    """Scale brightness, contrast and, for color images, saturation, each by a factor in [1 - x, 1 + x]."""

    takes_bytes = False

    def __init__(
        self, brightness: NonNegativeFloat = 0.2, contrast: NonNegativeFloat = 0.2, saturation: NonNegativeFloat = 0.2
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation

    def __call__(self, images: Tensor) -> Tensor:
        intensity = (images + 1) / 2
        intensity = (intensity * self._factor(images, self.brightness)).clamp(0, 1)
        mean = _gray(intensity).mean(tuple(range(1, images.ndim)), keepdim=True)
        intensity = (mean + (intensity - mean) * self._factor(images, self.contrast)).clamp(0, 1)
        if images.shape[-3] >= 3:
            gray = _gray(intensity)
            intensity = (gray + (intensity - gray) * self._factor(images, self.saturation)).clamp(0, 1)
        if images.shape[-3] == 4:  # transparency is not a color
            intensity = torch.cat([intensity[..., :3, :, :], (images[..., 3:, :, :] + 1) / 2], -3)
        return intensity * 2 - 1

    @staticmethod
    def _factor(images: Tensor, strength: float) -> Tensor:
        return _uniform(images, max(0.0, 1 - strength), 1 + strength)


def _gray(images: Tensor) -> Tensor:
    """Luma of color images (ITU-R BT.601), as one channel; the first channel of other images."""
    if images.shape[-3] < 3:
        return images[..., :1, :, :]
    red, green, blue = images[..., :3, :, :].split(1, dim=-3)
    return 0.299 * red + 0.587 * green + 0.114 * blue


class Affine:
    """Rotate by up to `degrees`, scale by `scale` = [low, high], shear by up to `shear` degrees and translate by up to
    `translate` (a fraction of each side), in one bilinear sampling; the outside of the image is `fill` (-1: black).
    """

    takes_bytes = False

    def __init__(
        self,
        degrees: NonNegativeFloat = 10.0,
        scale: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1),
        shear: NonNegativeFloat = 5.0,
        translate: NonNegativeFloat = 0.05,
        fill: Annotated[float, Ge(-1), Le(1)] = -1.0,
    ) -> None:
        if scale[0] > scale[1]:
            raise UserError(f"data.augment.affine.scale={list(scale)}: give the least first, as [0.9,1.1]")
        self.degrees = degrees
        self.scale = scale
        self.shear = shear
        self.translate = translate
        self.fill = fill

    def __call__(self, images: Tensor) -> Tensor:
        grid = _grid(self._maps(images), *images.shape[-2:])
        # grid_sample pads with zero: shift values so that `fill` is zero meanwhile.
        planes = _frames_as_channels(images) - self.fill
        return F.grid_sample(planes, grid, align_corners=False).add_(self.fill).view(images.shape)

    def _maps(self, images: Tensor) -> Tensor:
        """Maps from output to input in affine_grid's coordinates (-1 .. 1 along each side), `(B, 2, 3)`."""

        def uniform(bound: float) -> Tensor:
            return _uniform(images, -bound, bound).view(-1)

        angle, shear = uniform(math.radians(self.degrees)), uniform(math.radians(self.shear))
        scale = _uniform(images, *self.scale).view(-1)
        # In images that are not square, the units of the two axes differ.
        aspect = images.shape[-2] / images.shape[-1]
        cosine, sine = angle.cos() / scale, angle.sin() / scale
        skew = shear.tan()
        rows = [
            [cosine, (cosine * skew - sine) * aspect, uniform(2 * self.translate)],
            [sine / aspect, sine * skew + cosine, uniform(2 * self.translate)],
        ]
        return torch.stack([torch.stack(row, -1) for row in rows], 1)


def _grid(maps: Tensor, height: int, width: int) -> Tensor:
    """`F.affine_grid` of `maps` `(B, 2, 3)`, `(B, H, W, 2)`, by broadcasting, in a third of the time."""
    columns, rows, shift = maps[:, None, None].unbind(-1)  # (B, 1, 1, 2) each
    x, y = (torch.arange(1, 2 * n, 2, device=maps.device) / n - 1 for n in (width, height))  # pixel centers
    return torch.addcmul(rows * y.view(-1, 1, 1) + shift, columns, x.view(-1, 1))


class Binarize:
    """Each pixel is white (+1) with probability its intensity, else black (-1): dynamic binarization."""

    takes_bytes = False

    def __call__(self, images: Tensor) -> Tensor:
        return self._threshold(images, torch.rand_like(images))

    def fixed(self, images: Tensor, index: Tensor) -> Tensor:
        """Binarization by the images' indices `(B,)` in a split: the same for any batch size, device and rank."""
        pixels = torch.arange(images[0].numel(), device=images.device).view(images.shape[1:])
        return self._threshold(images, hashed_noise(index.view(-1, *[1] * pixels.ndim), pixels))

    @staticmethod
    def _threshold(images: Tensor, noise: Tensor) -> Tensor:
        return ((images + 1) / 2 > noise).to(images.dtype) * 2 - 1
