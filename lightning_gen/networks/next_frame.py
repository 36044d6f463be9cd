"""The next frame as the last one and what changes in it, from recurrent maps of its patches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.errors import UserError


class NextFrame(nn.Module):
    """Frames `(B, T, C, H, W)` to what comes after each of them, `(B, T, out_channels, H, W)`.

    Patches of `patch_size` pixels a side are made channels, which recurrent `cells(in_channels, size)` read, with
    `hints` channels of further maps of that size. They make maps `(B, T, C, *size)` and a state, None before all, into
    maps of `cells.width` channels and the next state. The next frame is the frame itself, convolved, and a change: two
    convolutions of all that was read and of what the cells say, with `out_width` gated linear units between them
    (https://arxiv.org/abs/1612.08083). To move a patch is to multiply what it shows by where it goes, as gates do.

    At first the next frame is the same again. If cells had to pass it on, to copy would have to be learned first, and
    for long the mean image is all that is predicted.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        out_channels: int,
        *,
        cells: Callable[..., nn.Module],
        patch_size: int,
        out_width: int,
        hints: int = 0,
    ):
        super().__init__()
        channels, height, width = frame_shape
        fitting = [size for size in range(1, patch_size + 1) if height % size == 0 and width % size == 0]
        if patch_size not in fitting:
            raise UserError(
                f"model.patch_size={patch_size}: frames of {height}x{width} don't divide into such patches; "
                f"give {max(fitting, default=1)}"
            )
        self.patch_size = patch_size
        patches, parameters = channels * patch_size**2, out_channels * patch_size**2
        self.size = (height // patch_size, width // patch_size)
        self.cells = cells(in_channels=patches + hints, size=self.size)
        self.frame = nn.Conv2d(patches, parameters, 3, padding=1)
        self.change = nn.Sequential(
            nn.Conv2d(self.cells.width + patches + hints, 2 * out_width, 3, padding=1),
            nn.GLU(dim=1),
            nn.Conv2d(out_width, parameters, 3, padding=1),
        )
        with torch.no_grad():
            self.frame.bias.zero_()
            self.frame.weight.zero_()
            nn.init.dirac_(self.frame.weight[:patches])  # a likelihood's locations come first

    def forward(self, frames: Tensor, state: Any, hints: Tensor | None = None) -> tuple[Tensor, Any]:
        """What comes next, and the state of the cells after all frames; None is that before all.

        `hints` are `(B, T, hints, H / patch_size, W / patch_size)`.
        """
        patches = F.pixel_unshuffle(frames, self.patch_size)
        read = patches if hints is None else torch.cat([patches, hints], dim=2)
        hidden, state = self.cells(read, state)
        change = self.change(torch.cat([hidden, read], dim=2).flatten(0, 1))
        parameters = (self.frame(patches.flatten(0, 1)) + change).float().unflatten(0, frames.shape[:2])
        return F.pixel_shuffle(parameters, self.patch_size), state
