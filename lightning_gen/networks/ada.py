"""ADA: augmentation whose strength follows the overfitting of the discriminator, https://arxiv.org/abs/2006.06676."""

import math
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.networks.warp import warp
from lightning_gen.optim.scheduled_scalars import ScheduledScalars
from lightning_gen.optim.schedules import Schedule, cheap
from lightning_gen.utilities.ranks import sum_over_ranks
from lightning_gen.utilities.whole_batch import batch_dim

SHIFT = 0.125  # fraction of each side: bound of integer translations, standard deviation of fractional ones
SCALE = 0.2  # this, contrast and saturation: standard deviations of base-2 logarithms
CONTRAST = 0.5
SATURATION = 1.0
BRIGHTNESS = 0.2  # standard deviation


@runtime_checkable
class Adaptive(Protocol):
    """An augmentation whose strength changes in training."""

    @property
    def strength(self) -> Tensor: ...

    def adapt(self, real_logits: Tensor, images: int, images_seen: int, total_images: int) -> None:
        """Update the strength; logits `(B,)` are of real images, and `images` is their number on this rank."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A part of a model with numbers that change from step to step."""

    def prepare(self, images_seen: int, total_images: int) -> None:
        """Write the numbers of the next step to tensors."""
        ...


class AdaptiveAugment(nn.Module):
    """Applies each transform to each of the images `(B, C, H, W)` with probability `strength`, in training mode only.

    `pipeline` chooses the paper's groups (appendix B): `blit` flips, turns by right angles and translates by whole
    pixels, `geometric` scales, rotates and translates, `color` changes colors, which may then leave [-1, 1]. The first
    two are one bilinear warp with reflected borders, without the paper's wavelet filters. Hue and saturation need three
    channels.

    The strength starts at `initial`. Every `interval` discriminator updates it takes a step towards a mean sign of the
    logits of real images of `target`, at a rate of `images_to_full` images from 0 to 1. With a
    `schedule(images_seen, total_images)` it is `initial` times the schedule instead.
    """

    strength: Tensor
    tally: Tensor  # since the last change: sum of signs, number of images, number of updates on this rank

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
        self._scheduled = ScheduledScalars()
        self.register_buffer("strength", torch.tensor(float(initial)))
        self.register_buffer("tally", torch.zeros(3))
        if self.schedule is not None:
            self.strength.copy_(self.scheduled(self.schedule, 0, 1))

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return images
        # 16 bits are too few for pixel coordinates. All draws are `(parameters, B)`.
        with torch.autocast(images.device.type, enabled=False), batch_dim(1):
            if {"blit", "geometric"} & set(self.pipeline):
                images = warp(images, *self.maps(images))
            return self.recolor(images) if "color" in self.pipeline else images

    # Strength: section 3.1, with r_t = E[sign(D_train)].

    @torch.no_grad()
    def adapt(self, real_logits: Tensor, images: int, images_seen: int, total_images: int) -> None:
        """Update the strength; logits `(B,)` are of real images, and `images` is their number on this rank."""
        if self.schedule is not None:
            self.strength.copy_(self.scheduled(self.schedule, images_seen, total_images))
            return
        counts = torch.full_like(self.tally[:2], images)  # on the device, without a sync
        counts[0] = real_logits.sign().sum()
        self.tally[:2] += sum_over_ranks(counts)
        self.tally[2] += 1
        signs, seen, updates = self.tally
        due = updates >= self.interval
        step = torch.sign(signs / seen - self.target) * seen / self.images_to_full
        self.strength.copy_(torch.where(due, self.strength + step, self.strength).clamp(0, 1))
        self.tally.masked_fill_(due, 0)

    def prepare(self, images_seen: int, total_images: int) -> None:
        """Write the strength that `adapt` will set in the next step, if there is a schedule."""
        if self.schedule is not None:
            self.scheduled(self.schedule, images_seen, total_images)

    def scheduled(self, schedule: Schedule, images_seen: int, total_images: int) -> Tensor:
        """The strength by a schedule, clamped to [0, 1]."""
        value = min(1.0, max(0.0, self.initial * schedule(images_seen, total_images)))
        return self._scheduled("strength", lambda: value, self.strength.device)

    def chosen(self, batch: int, probabilities: list[Tensor]) -> Tensor:
        """A mask `(transforms, B)` of the images to transform, with a probability for each transform."""
        return torch.rand(len(probabilities), batch, device=self.strength.device) < torch.stack(probabilities)[:, None]

    # Coordinates: all maps are from output to input pixels; parameters of zero are the identity.

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Affine maps, linear part `(B, 2, 2)` and shift `(B, 2)`, in pixels from the center of the image."""
        linear, shift = self.geometric(images) if "geometric" in self.pipeline else identity_maps(images)
        if "blit" not in self.pipeline:
            return linear, shift
        turn, by_pixels = self.blit(images)
        return turn @ linear, (turn @ shift[:, :, None])[:, :, 0] + by_pixels

    def blit(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Horizontal flips, quarter turns of square images, integer translations."""
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
        """Isotropic scaling, rotation, anisotropic scaling, rotation, fractional translation."""
        batch, _, height, width = images.shape
        rotated = 1 - (1 - self.strength).sqrt()  # at least one of two has the probability `strength`
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
        if images.shape[1] == 4:  # transparency is not a color
            return torch.cat([self.recolor(images[:, :3]), images[:, 3:]], 1)
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


def identity_maps(images: Tensor) -> tuple[Tensor, Tensor]:
    """The identity as an affine map of each image."""
    shift = torch.zeros(len(images), 2, device=images.device)
    return torch.eye(2, device=images.device).expand(len(images), 2, 2), shift


def rotations(angles: Tensor) -> Tensor:
    """Rotation matrices `(..., 2, 2)` by angles in radians, from the first axis to the second."""
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([cosine, -sine, sine, cosine], -1).unflatten(-1, (2, 2))


def color_maps(
    channels: int, brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> tuple[Tensor, Tensor]:
    """Color transforms as a matrix `(B, C, C)` and a shift `(B, 1, 1)` of all channels, from parameters `(B,)`.

    All but the brightness act on the components along and orthogonal to the gray axis, so they commute: contrast scales
    both, `luma_flip` (0 or 1) negates the former, saturation scales and hue (radians) rotates the latter. Hues exist
    for three channels only; other numbers need an angle of zero.
    """
    identity = torch.eye(channels, device=hue.device)
    gray = torch.full_like(identity, 1 / channels)  # the projection onto the gray axis
    cycle = identity.roll(1, 0)
    quarter = (cycle - cycle.T) / math.sqrt(3)  # rotation by 90 degrees about the gray axis
    along, across = contrast * (1 - 2 * luma_flip), contrast * saturation
    weights = torch.stack([along, across * hue.cos(), across * hue.sin()], 1)  # (B, 3)
    linear = weights @ torch.stack([gray, identity - gray, quarter]).flatten(1)
    return linear.unflatten(1, (channels, channels)), (along * brightness)[:, None, None]
