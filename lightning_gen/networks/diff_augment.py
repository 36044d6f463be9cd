"""DiffAugment: differentiable augmentation of the discriminator's inputs, https://arxiv.org/abs/2006.10738."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.utilities.whole_batch import batch_dim


class DiffAugment(nn.Module):
    """Random transforms of each of the images `(B, C, H, W)` in training mode; the identity in evaluation mode.

    `policy` is applied in order. `shift` (at most) and `cutout` are fractions of each side; both transforms fill with
    zero, mid-gray in [-1, 1]. Colors may leave [-1, 1].
    """

    def __init__(
        self, policy: list[Literal["color", "translation", "cutout"]], shift: UnitInterval, cutout: UnitInterval
    ):
        super().__init__()
        for name, fraction in (("shift", shift), ("cutout", cutout)):
            if not 0 <= fraction <= 1:
                raise UserError(f"model.augment.{name}={fraction}: a fraction of the image's side; give 0 to 1")
        self.transforms = [{"color": recolor, "translation": self.translate, "cutout": self.cut}[p] for p in policy]
        self.shift = shift
        self.cutout = cutout

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        for transform in self.transforms:
            images = transform(images)
        return images

    def translate(self, images: Tensor) -> Tensor:
        """Images translated by whole pixels."""
        rows, row_inside = self._source_pixels(images, 2)
        columns, column_inside = self._source_pixels(images, 3)
        moved = images.gather(2, rows[:, None, :, None].expand_as(images))
        moved = moved.gather(3, columns[:, None, None].expand_as(images))
        return moved * (row_inside[:, None, :, None] & column_inside[:, None, None])

    def _source_pixels(self, images: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Source coordinates along one axis `(B, length)`, clamped, and a mask of those inside the image."""
        length = images.shape[axis]
        max_shift = int(length * self.shift + 0.5)
        pixels = torch.arange(length, device=images.device)
        pixels = pixels + torch.randint(-max_shift, max_shift + 1, (len(images), 1), device=images.device)
        return pixels.clamp(0, length - 1), (pixels >= 0) & (pixels < length)

    def cut(self, images: Tensor) -> Tensor:
        """Images without a rectangle around a random pixel, cropped at the border."""
        rows, columns = self._cut_mask(images, 2), self._cut_mask(images, 3)
        return images * ~(rows[:, None, :, None] & columns[:, None, None])

    def _cut_mask(self, images: Tensor, axis: int) -> Tensor:
        """A mask `(B, length)` of the rectangle along one axis."""
        length = images.shape[axis]
        size = int(length * self.cutout + 0.5)
        # The center of a rectangle of even size lies between two pixels.
        start = torch.randint(length + 1 - size % 2, (len(images), 1), device=images.device) - size // 2
        pixels = torch.arange(length, device=images.device)
        return (pixels >= start) & (pixels < start + size)


def recolor(images: Tensor) -> Tensor:
    """Images of random brightness, saturation (three channels only) and contrast, by the paper's appendix."""
    if images.shape[1] == 4:  # transparency is not a color
        return torch.cat([recolor(images[:, :3]), images[:, 3:]], 1)
    with batch_dim(1):
        parameters = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    brightness, saturation, contrast = parameters.to(images.dtype)
    return colored(images, brightness - 0.5, 2 * saturation, contrast + 0.5)


def colored(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Add `brightness`, then scale distances from each pixel's mean, and from the image's mean."""
    images = images + brightness
    if images.shape[1] == 3:
        images = torch.lerp(images.mean(1, keepdim=True), images, saturation)
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
