"""Moving MNIST, https://arxiv.org/abs/1502.04681: digits of mnist5k that bounce within a frame, generated on the fly.

With bounces in random directions this is Stochastic Moving MNIST, https://arxiv.org/abs/1802.07687.
"""

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.mnist5k import MNIST5k
from lightning_gen.data.source import TensorSource
from lightning_gen.errors import UserError
from lightning_gen.randomness import generator, hashed_noise

# Sequences in an epoch, and in a pass over the training data, of an infinite stream.
EPOCH = 10_000
MOST_DIGITS = 3
NUM_DIRECTIONS = 3600


@dataclass(kw_only=True, eq=False, repr=False)
class MovingDigits(MNIST5k):
    """Sequences `(frames, 1, size, size)` of `min_digits` to `max_digits` digits; no digit is in two splits.

    `speed` is the range of speeds, per frame, as a fraction of the free space (`size - digit_size`). Training sequences
    are infinite; validation and test have `num_test` each. `seed` determines them all.
    """

    name = "moving_digits"

    size: PositiveInt
    digit_size: PositiveInt
    frames: PositiveInt
    min_digits: PositiveInt
    max_digits: PositiveInt
    speed: list[float]
    bounces: Literal["deterministic", "stochastic"]
    num_test: PositiveInt

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.digit_size < self.size:
            raise UserError(f"data.digit_size={self.digit_size}: give less than data.size={self.size}")
        if not self.min_digits <= self.max_digits <= MOST_DIGITS:
            digits = f"data.min_digits={self.min_digits} data.max_digits={self.max_digits}"
            raise UserError(f"{digits}: give 1 to {MOST_DIGITS}, the least first")
        if len(self.speed) != 2 or not 0 <= self.speed[0] <= self.speed[1] <= 1:
            raise UserError(f"data.speed={list(self.speed)}: give the least and the most, in [0, 1], as [0.1,0.1]")

    def load(self) -> Mapping[str, TensorSource]:
        return {split: TensorSource(self._sequences(split, digits.images)) for split, digits in self.digits().items()}

    def _sequences(self, split: str, digits: Tensor) -> "BouncingDigits":
        motion = Motion(
            frames=self.frames,
            room=self.size - self.digit_size,
            speed=(self.speed[0], self.speed[1]),
            stochastic=self.bounces == "stochastic",
        )
        return BouncingDigits(
            _resized(digits, self.digit_size),
            motion,
            least=self.min_digits,
            most=self.max_digits,
            key=int(torch.randint(2**31, (), generator=generator("moving_digits", self.seed, split))),
            count=EPOCH if split == "train" else self.num_test,
            endless=split == "train",
        )


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Motion of digits within `room` pixels in each direction, at speeds from a range, in rooms per frame."""

    frames: int
    room: int
    speed: tuple[float, float]
    stochastic: bool

    @property
    def num_draws(self) -> int:
        """Random numbers for a digit: two for its position and two for each velocity."""
        return 2 + 2 * (self.frames if self.stochastic else 1)

    def corners(self, noise: Tensor) -> Tensor:
        """The digits' upper left corners, whole pixels (row, column) `(B, D, T, 2)`, from uniform noise `(B, D, K)`.

        As in the published data, a step that would cross a wall ends at it.
        """
        position = noise[..., :2] * self.room
        velocities = self._velocities(noise[..., 2::2], noise[..., 3::2])
        velocity = velocities[:, :, 0]
        positions = [position]
        for step in range(1, self.frames):
            position = position + velocity
            before, after = position <= 0, position >= self.room
            position = position.clamp(0, self.room)
            if self.stochastic:
                velocity = torch.where((before | after).any(-1, keepdim=True), velocities[:, :, step], velocity)
            speed = velocity.abs()
            velocity = torch.where(before, speed, torch.where(after, -speed, velocity))  # away from the wall
            positions.append(position)
        return torch.stack(positions, 2).to(torch.int64)

    def _velocities(self, noise: Tensor, direction: Tensor) -> Tensor:
        """Pixels in a frame, `(..., 2)`."""
        slowest, fastest = (speed * self.room for speed in self.speed)
        # From a table: the last bit of a sine differs between devices, which could move a digit by a pixel.
        direction = _directions(direction.device)[(direction * NUM_DIRECTIONS).to(torch.int64)]
        return (slowest + (fastest - slowest) * noise)[..., None] * direction


class BouncingDigits:
    """Sequences of `least` to `most` digits, generated on demand: an `ImageTensor` `(N, T, 1, H, W)`, uint8.

    Sequence i is a function of `key` and i alone; with more frames or digits it starts as it does with fewer. `digits`
    is `(M, S, S)`.
    """

    def __init__(
        self, digits: Tensor, motion: Motion, *, least: int, most: int, key: int, count: int, endless: bool
    ) -> None:
        self.digits = digits
        self.motion = motion
        self.least = least
        self.most = most
        self.key = key
        self.endless = endless
        side = motion.room + digits.shape[-1]
        self.shape = torch.Size([count, motion.frames, 1, side, side])
        self.device = digits.device
        self.nbytes = digits.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Tensor:
        return self.index_select(0, torch.tensor([index], device=self.device))[0]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Sequences `(B, T, 1, H, W)`; `dim` is 0."""
        which, corners = self.placements(index)
        frames, _, height, width = self.shape[1:]
        corner = corners[..., 0] * width + corners[..., 1]  # (B, D, T)
        batch, time, side = (torch.arange(n, device=self.device) for n in (len(index), frames, self.digits.shape[-1]))
        frame = (batch[:, None, None] * frames + time) * (height * width)
        pixel = (side[:, None] * width + side).flatten()
        places = (frame + corner)[..., None] + pixel  # (B, D, T, S * S)
        ink = self.digits.flatten(1)[which][:, :, None].expand_as(places)
        canvas = torch.zeros(len(index) * frames * height * width, dtype=torch.uint8, device=self.device)
        canvas.scatter_reduce_(0, places.flatten(), ink.flatten(), "amax")
        return canvas.view(len(index), *self.shape[1:])

    def placements(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The indices of digits `(B, D)` and their corners `(B, D, T, 2)`, with D = `most`.

        Where a sequence has fewer digits, the first one is repeated: drawing a digit over itself changes nothing.
        """
        order = torch.arange(self.most, device=self.device)
        draws = torch.arange(2 + self.motion.num_draws, device=self.device)
        noise = hashed_noise(index[:, None, None], draws * MOST_DIGITS + order[:, None], self.key)  # (B, D, K)
        which = (noise[..., 0] * len(self.digits)).to(torch.int64).clamp(max=len(self.digits) - 1)
        corners = self.motion.corners(noise[..., 2:])
        count = self.least + noise[:, :1, 1] * (self.most - self.least + 1)  # (B, 1)
        order = torch.where(order < count.floor(), order, 0)
        return which.gather(1, order), corners.gather(1, order[..., None, None].expand_as(corners))

    def to(self, device: torch.device) -> "BouncingDigits":
        """The same on a device."""
        moved = copy(self)
        moved.digits = self.digits.to(device)
        moved.device = moved.digits.device
        return moved


@cache
def _directions(device: torch.device) -> Tensor:
    """Unit vectors at equal angles, `(NUM_DIRECTIONS, 2)`."""
    angle = 2 * math.pi * torch.arange(NUM_DIRECTIONS, dtype=torch.float64) / NUM_DIRECTIONS
    return torch.stack([angle.sin(), angle.cos()], 1).float().to(device)


def _resized(digits: Tensor, size: int) -> Tensor:
    """Digits `(M, 1, H, W)` resized to `(M, size, size)`, antialiased."""
    if size != digits.shape[-1]:
        resized = F.interpolate(digits.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        digits = resized.round().clamp(0, 255).to(torch.uint8)
    return digits[:, 0]
