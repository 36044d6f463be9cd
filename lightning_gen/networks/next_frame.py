"""The next frame as the last one plus a change, from recurrent maps of its patches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.errors import UserError
from lightning_gen.networks.cell_layers import RecurrentMaps


class NextFrame(nn.Module):
    """Frames `(B, T, C, H, W)` to the frames that follow them, `(B, T, out_channels, H, W)`.

    Patches of `patch_size` pixels a side become channels of the input of recurrent `cells(in_channels, size)`, beside
    `hints` channels of further maps. The next frame is the frame itself, convolved, plus a change: two convolutions of
    the cells' input and output with `out_width` gated linear units between them (https://arxiv.org/abs/1612.08083).
    Gating lets the network move patch content: a product of content and place.

    At first the next frame is the last one. If it had to pass through the cells, copying would have to be learned
    first, and for long the mean image is all that is predicted.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        out_channels: int,
        *,
        cells: Callable[..., RecurrentMaps],
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
            for parameter in self.frame.parameters():
                parameter.zero_()
            nn.init.dirac_(self.frame.weight[:patches])  # the channels of the likelihood's location come first

    def forward(self, frames: Tensor, state: Any, hints: Tensor | None = None) -> tuple[Tensor, Any]:
        """Parameters of the next frames, and the last state of the cells; `state` is None before the first frame.

        `hints` are `(B, T, hints, H / patch_size, W / patch_size)`.
        """
        patches = F.pixel_unshuffle(frames, self.patch_size)
        inputs = patches if hints is None else torch.cat([patches, hints], dim=2)
        hidden, state = self.cells(inputs, state)
        change = self.change(torch.cat([hidden, inputs], dim=2).flatten(0, 1))
        parameters = (self.frame(patches.flatten(0, 1)) + change).float().unflatten(0, frames.shape[:2])
        return F.pixel_shuffle(parameters, self.patch_size), state
