"""DiffAugment: what the discriminator sees, augmented alike for both players, https://arxiv.org/abs/2006.10738."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gen.errors import UserError


class DiffAugment(nn.Module):
    """Images `(B, C, H, W)`, each with draws of its own, in training mode; the identity in evaluation mode.

    `policy` is applied in its order. Translation goes up to the share `shift` of each side, and cutout takes the share
    `cutout` of each; both fill with zero, which is mid-gray in [-1, 1]. Colors may leave [-1, 1].
    """

    def __init__(self, policy: list[Literal["color", "translation", "cutout"]], shift: float, cutout: float):
        super().__init__()
        for name, share in (("shift", shift), ("cutout", cutout)):
            if not 0 <= share <= 1:
                raise UserError(f"model.augment.{name}={share}: a share of the image's side; give 0 to 1")
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
        """Shifted by whole pixels down and right."""
        rows, row_inside = self._places(images, 2)
        columns, column_inside = self._places(images, 3)
        moved = images.gather(2, rows[:, None, :, None].expand_as(images))
        moved = moved.gather(3, columns[:, None, None].expand_as(images))
        return moved * (row_inside[:, None, :, None] & column_inside[:, None, None])

    def _places(self, images: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Each image's source coordinates along one axis `(B, length)`, and which of them lie inside the image."""
        length = images.shape[axis]
        most = int(length * self.shift + 0.5)
        places = torch.arange(length, device=images.device)
        places = places + torch.randint(-most, most + 1, (len(images), 1), device=images.device)
        return places.clamp(0, length - 1), (places >= 0) & (places < length)

    def cut(self, images: Tensor) -> Tensor:
        """A rectangle around any pixel taken out, as much of it as lies inside."""
        rows, columns = self._cut_places(images, 2), self._cut_places(images, 3)
        return images * ~(rows[:, None, :, None] & columns[:, None, None])

    def _cut_places(self, images: Tensor, axis: int) -> Tensor:
        """Which places along one axis lie in the rectangle, `(B, length)`."""
        length = images.shape[axis]
        size = int(length * self.cutout + 0.5)
        # The center of a rectangle of even size lies between two pixels.
        start = torch.randint(length + 1 - size % 2, (len(images), 1), device=images.device) - size // 2
        places = torch.arange(length, device=images.device)
        return (places >= start) & (places < start + size)


def recolor(images: Tensor) -> Tensor:
    """Brightness, saturation (of three channels only) and contrast, changed as in the paper's appendix."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device).to(images.dtype)
    return colored(images, brightness - 0.5, 2 * saturation, contrast + 0.5)


def colored(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """`brightness` is added; distances from the pixel's and then the image's mean are multiplied by the others."""
    images = images + brightness
    if images.shape[1] == 3:
        images = torch.lerp(images.mean(1, keepdim=True), images, saturation)
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
