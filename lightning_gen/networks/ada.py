"""ADA: augmentation as strong as the discriminator's overfitting asks for, https://arxiv.org/abs/2006.06676."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.warp import warp
from lightning_gen.optim.schedules import Schedule, cheap

SHIFT = 0.125  # share of each side: the bound of whole-pixel, the standard deviation of fractional translations
SCALE = 0.2  # standard deviations of logarithms to the base 2
CONTRAST = 0.5
SATURATION = 1.0
BRIGHTNESS = 0.2


class AdaptiveAugment(nn.Module):
    """Images `(B, C, H, W)`, each transformed in every way with probability `strength`, in training mode only.

    `pipeline` chooses the paper's groups (appendix B): `blit` flips, turns and moves by whole pixels, `geometric`
    scales, rotates and moves, `color` changes colors, which may then leave [-1, 1]. The former two are one bilinear
    warp with reflected borders, without the paper's wavelet filters. Hue and saturation need three channels.

    The strength starts at `initial`. Every `interval` turns of the discriminator it takes a step towards where the mean
    sign of its logits for real images is `target`, so fast that `images_to_full` images lead from 0 to 1. With a
    `schedule(images_seen, total_images)` it is `initial` times that instead.
    """

    def __init__(
        self,
        pipeline: list[Literal["blit", "geometric", "color"]],
        target: float,
        images_to_full: int,
        initial: float,
        interval: PositiveInt,
        schedule: Schedule | None,
    ):
        super().__init__()
        if not 0 <= initial <= 1:
            raise UserError(f"model.augment.initial={initial}: a probability; give 0 to 1")
        if images_to_full < 1:
            raise UserError(f"model.augment.images_to_full={images_to_full}: a number of images; give 1 or more")
        self.pipeline = pipeline
        self.target = target
        self.images_to_full = images_to_full
        self.initial = initial
        self.interval = interval
        self.schedule = cheap(schedule)
        start = initial if schedule is None else self.scheduled(0, 1)
        self.register_buffer("strength", torch.tensor(float(start)))
        # Since the last change: the sum of signs, the images, and this rank's turns.
        self.register_buffer("tally", torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        with torch.autocast(images.device.type, enabled=False):  # places of pixels need their digits
            if {"blit", "geometric"} & set(self.pipeline):
                images = warp(images, *self.maps(images))
            return self.recolor(images) if "color" in self.pipeline else images

    # How strong.

    @torch.no_grad()
    def adapt(self, real_logits: Tensor, images: int, images_seen: int, total_images: int) -> None:
        """Take a turn's logits of real images `(B,)` into account; `images` is how many this rank showed."""
        if self.schedule is not None:
            self.strength.fill_(self.scheduled(images_seen, total_images))
            return
        counts = torch.full_like(self.tally[:2], images)  # made on the device: nothing waits for it
        counts[0] = real_logits.sign().sum()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        self.tally[:2] += counts
        self.tally[2] += 1
        signs, seen, turns = self.tally
        due = turns >= self.interval
        step = torch.sign(signs / seen - self.target) * seen / self.images_to_full
        self.strength.copy_(torch.where(due, self.strength + step, self.strength).clamp(0, 1))
        self.tally.masked_fill_(due, 0)

    def scheduled(self, images_seen: int, total_images: int) -> float:
        """The strength that the schedule gives."""
        return min(1.0, max(0.0, self.initial * self.schedule(images_seen, total_images)))

    def chosen(self, batch: int, probabilities: list[Tensor]) -> Tensor:
        """Which images are to be transformed, in a row for each probability."""
        return torch.rand(len(probabilities), batch, device=self.strength.device) < torch.stack(probabilities)[:, None]

    # Where pixels go. All is drawn as it maps output to input; at zero each value leaves the image as it is.

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The linear part `(B, 2, 2)` and the shift `(B, 2)` of each image's affine map, in pixels from its center."""
        linear, shift = self.geometric(images) if "geometric" in self.pipeline else unmoved(images)
        if "blit" not in self.pipeline:
            return linear, shift
        turn, by_pixels = self.blit(images)
        return turn @ linear, (turn @ shift[:, :, None])[:, :, 0] + by_pixels

    def blit(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Flips from left to right, quarter turns of square images, translations by whole pixels."""
        batch, _, height, width = images.shape
        chosen = self.chosen(batch, [self.strength] * 3)
        flip, turn, right, down = torch.rand(4, batch, device=images.device)
        flip = (flip * 2).floor() * chosen[0]
        turn = (turn * 4).floor() * chosen[1] * (height == width)
        shift = torch.stack([(2 * right - 1) * width, (2 * down - 1) * height], 1)
        shift = (SHIFT * shift).round() * chosen[2][:, None]
        turned = rotations(turn * (math.pi / 2)).round()  # exact: cos(pi / 2) is not
        return torch.stack([turned[:, 0] * (1 - 2 * flip)[:, None], turned[:, 1]], 1), shift

    def geometric(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled, rotated, stretched along an axis, rotated again, translated."""
        batch, _, height, width = images.shape
        rotated = 1 - (1 - self.strength).sqrt()  # one of two is with the probability `strength`
        probabilities = [self.strength, rotated, self.strength, rotated, self.strength]
        scaled, before, stretched, after, moved = self.chosen(batch, probabilities)
        scale, stretch, right, down = torch.randn(4, batch, device=images.device)
        scale, stretch = torch.exp2(SCALE * scale * scaled), torch.exp2(SCALE * stretch * stretched)
        angles = math.pi * (2 * torch.rand(2, batch, device=images.device) - 1) * torch.stack([before, after])
        first, second = rotations(angles)
        stretches = torch.stack([scale * stretch, scale / stretch], 1)  # (B, 2)
        linear = first @ (stretches[:, :, None] * second)
        shift = SHIFT * torch.stack([right * width, down * height], 1) * moved[:, None]
        return linear, (linear @ shift[:, :, None])[:, :, 0]

    def recolor(self, images: Tensor) -> Tensor:
        """Brightness, contrast, luma flip, hue and saturation."""
        batch, channels = images.shape[:2]
        colored = self.strength * (channels == 3)
        chosen = self.chosen(batch, [self.strength, self.strength, self.strength, colored, colored])
        brightness, contrast, saturation = torch.randn(3, batch, device=images.device)
        flip, hue = torch.rand(2, batch, device=images.device)
        linear, shift = color_maps(
            channels,
            BRIGHTNESS * brightness * chosen[0],
            torch.exp2(CONTRAST * contrast * chosen[1]),
            (flip * 2).floor() * chosen[2],
            math.pi * (2 * hue - 1) * chosen[3],
            torch.exp2(SATURATION * saturation * chosen[4]),
        )
        return torch.baddbmm(shift.to(images.dtype), linear.to(images.dtype), images.flatten(2)).view_as(images)


def unmoved(images: Tensor) -> tuple[Tensor, Tensor]:
    """The affine map that leaves all images as they are."""
    shift = torch.zeros(len(images), 2, device=images.device)
    return torch.eye(2, device=images.device).expand(len(images), 2, 2), shift


def rotations(angles: Tensor) -> Tensor:
    """Matrices `(..., 2, 2)` of angles from the first axis to the second."""
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([cosine, -sine, sine, cosine], -1).unflatten(-1, (2, 2))


def color_maps(
    channels: int, brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> tuple[Tensor, Tensor]:
    """A matrix `(B, C, C)` and a shift `(B, 1, 1)` of all channels, from values `(B,)`.

    After the brightness all act on the part along the gray axis or on that across it, so their order is free: contrast
    multiplies both, `luma_flip` (0 or 1) mirrors the former, saturation multiplies and hue (radians) turns the latter.
    Only three channels have a hue; others need the angle zero.
    """
    identity = torch.eye(channels, device=hue.device)
    gray = torch.full_like(identity, 1 / channels)  # the projection onto the gray axis
    cycle = identity.roll(1, 0)
    quarter = (cycle - cycle.T) / math.sqrt(3)  # turns by a right angle what is across the axis
    along, across = contrast * (1 - 2 * luma_flip), contrast * saturation
    weights = torch.stack([along, across * hue.cos(), across * hue.sin()], 1)  # (B, 3)
    linear = weights @ torch.stack([gray, identity - gray, quarter]).flatten(1)
    return linear.unflatten(1, (channels, channels)), (along * brightness)[:, None, None]
