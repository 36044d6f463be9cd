"""U-Net of diffusion models, https://arxiv.org/abs/2006.11239 and 2105.05233; attention over time as in 2204.03458."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt, UnitInterval
from lightning_gen.networks.layers import nearest, normalization_layer, pyramid, widths
from lightning_gen_flow.layers import Attention, Condition, positions, zero


class UNet(nn.Module):
    """Noisy images or sequences of any size to a tensor of the same shape.

    - Each level halves the maps, rounding up, while the shorter side is 8 or more, and doubles the channels, from
      `width` to at most `largest`. It has `depth` residual blocks down and `depth` up; where the longer side is at most
      `attention_size`, spatial attention follows each block.
    - Frames are processed separately but for attention over the frames of each position, at every level.
    - `patch` x `patch` pixels are folded into channels at the input.
    - `fourier` holds exponents n of the features sin(2^n pi x) and cos(2^n pi x), which are added to the pixels x as
      channels and make small noise visible (2107.00630, appendix C).
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        width: PositiveInt,
        largest: PositiveInt,
        depth: PositiveInt,
        attention_size: PositiveInt,
        head_dim: PositiveInt,
        patch: PositiveInt,
        dropout: UnitInterval,
        fourier: list[int],
    ):
        super().__init__()
        *frames, channels, height, pixels_wide = image_shape
        self.frames = frames[0] if frames else None
        self.patch = patch
        self.fourier = fourier
        self.condition = Condition(4 * width, num_classes)
        sizes = pyramid(-(-height // patch), -(-pixels_wide // patch))
        levels = widths(width, len(sizes), largest)

        def stage(inputs: list[int], outputs: int, size: tuple[int, int]) -> "Stage":
            attends = max(size) <= attention_size
            return Stage(inputs, outputs, 4 * width, attends, head_dim, dropout, self.frames)

        self.stem = nn.Conv2d(channels * (1 + 2 * len(fourier)) * patch**2, levels[0], 3, padding=1)
        before = [levels[0], *levels[:-1]]
        self.down = nn.ModuleList(
            stage([start] + [level] * (depth - 1), level, size)
            for start, level, size in zip(before, levels, sizes, strict=True)
        )
        self.halve = nn.ModuleList(nn.Conv2d(level, level, 3, stride=2, padding=1) for level in levels[:-1])
        self.middle = stage([levels[-1]], levels[-1], sizes[-1])
        after = [*levels[1:], levels[-1]]
        self.up = nn.ModuleList(
            stage([below + level] + [2 * level] * (depth - 1), level, size)
            for below, level, size in zip(after, levels, sizes, strict=True)
        )
        self.enlarge = nn.ModuleList(nn.Conv2d(level, level, 3, padding=1) for level in levels[1:])
        self.norm = normalization_layer("group", levels[0])
        self.out = zero(nn.Conv2d(levels[0], channels * patch**2, 3, padding=1))

    def forward(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = F.silu(self.condition(noise, labels))
        if self.frames is not None:
            condition = condition.repeat_interleave(self.frames, 0)
            images = images.flatten(0, 1)
        height, width = images.shape[-2:]
        maps = self.stem(F.pixel_unshuffle(padded(with_waves(images, self.fourier), self.patch), self.patch))
        seen: list[Tensor] = []
        for index, stage in enumerate(self.down):
            maps = stage(maps, condition, kept=seen)
            if index < len(self.halve):
                maps = self.halve[index](maps)
        maps = self.middle(maps, condition)
        for index in reversed(range(len(self.up))):
            if index < len(self.enlarge):
                maps = self.enlarge[index](nearest(maps, seen[-1].shape[-2:]))
            maps = self.up[index](maps, condition, given=seen)
        maps = self.out(F.silu(self.norm(maps)))
        output = F.pixel_shuffle(maps, self.patch)[..., :height, :width]
        return output if self.frames is None else output.unflatten(0, (-1, self.frames))


class Stage(nn.Module):
    """Residual blocks of one level, with spatial attention if it `attends`, then attention over frames."""

    def __init__(
        self,
        inputs: list[int],
        outputs: int,
        condition_dim: int,
        attends: bool,
        head_dim: int,
        dropout: float,
        frames: int | None,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels, outputs, condition_dim, dropout) for channels in inputs)
        self.attention = nn.ModuleList(SpaceAttention(outputs, head_dim) for _ in inputs if attends)
        self.time = None if frames is None else TimeAttention(outputs, head_dim, frames)

    def forward(
        self, maps: Tensor, condition: Tensor, kept: list[Tensor] | None = None, given: list[Tensor] | None = None
    ) -> Tensor:
        """Append each block's output to `kept`, or concatenate the last of `given` to its input (skip connections)."""
        for index, block in enumerate(self.blocks):
            maps = block(maps if given is None else torch.cat([maps, given.pop()], dim=1), condition)
            if self.attention:
                maps = self.attention[index](maps)
            if self.time is not None and index == len(self.blocks) - 1:
                maps = self.time(maps)
            if kept is not None:
                kept.append(maps)
        return maps


class ResidualBlock(nn.Module):
    """Two convolutions; the condition scales and shifts the input of the second (2105.05233, section 3)."""

    def __init__(self, inputs: int, outputs: int, condition_dim: int, dropout: float):
        super().__init__()
        self.first_norm = normalization_layer("group", inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = zero(nn.Linear(condition_dim, 2 * outputs))
        self.second_norm = normalization_layer("group", outputs)
        self.dropout = nn.Dropout(dropout)
        self.second = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        hidden = self.first(F.silu(self.first_norm(maps)))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = F.silu(self.second_norm(hidden) * (1 + scale) + shift)
        return self.skip(maps) + self.second(self.dropout(hidden))


class SpaceAttention(nn.Module):
    """Attention between all positions of a map."""

    def __init__(self, channels: int, head_dim: int):
        super().__init__()
        self.norm = normalization_layer("group", channels)
        self.attention = Attention(channels, head_dim)
        zero(self.attention.out)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = self.norm(maps).flatten(2).transpose(1, 2)  # (B, H * W, C)
        return maps + self.attention(tokens).transpose(1, 2).unflatten(2, maps.shape[2:])


class TimeAttention(nn.Module):
    """Attention between the `frames` at each position."""

    positions: Tensor

    def __init__(self, channels: int, head_dim: int, frames: int):
        super().__init__()
        self.frames = frames
        self.norm = normalization_layer("group", channels)
        self.attention = Attention(channels, head_dim)
        zero(self.attention.out)
        self.register_buffer("positions", positions((frames,), channels), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        channels, height, width = maps.shape[1:]
        tokens = self.norm(maps).unflatten(0, (-1, self.frames)).permute(0, 3, 4, 1, 2).flatten(0, 2)
        gathered = self.attention(tokens + self.positions).view(-1, height, width, self.frames, channels)
        return maps + gathered.permute(0, 3, 4, 1, 2).flatten(0, 1)


def with_waves(images: Tensor, exponents: list[int]) -> Tensor:
    """Images with Fourier features as further channels."""
    angles = [2**n * math.pi * images for n in exponents]
    return torch.cat([images, *(wave for angle in angles for wave in (angle.sin(), angle.cos()))], dim=1)


def padded(images: Tensor, patch: int) -> Tensor:
    """Images padded by their last row and column until `patch` divides the sides."""
    below, right = (-side % patch for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, below), mode="replicate") if below or right else images
