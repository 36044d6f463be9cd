"""Predicting frames with a convolutional LSTM, https://arxiv.org/abs/1506.04214."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.errors import UserError
from lightning_gen.models.frame_predictor import ScheduledPredictor


class ConvLSTM(ScheduledPredictor):
    """Recurrent `cells(in_channels, size)` on frames whose patches, `patch_size` pixels a side, are made channels.

    The next frame is the frame itself, convolved, and a change: two convolutions, `out_width` channels between them, of
    the frame and of what the cells say. At first it is the same frame again. If cells had to pass it on, to copy would
    have to be learned first, and for long the mean image is all that is predicted.
    """

    averaged_parts = ("cells", "frame", "change")
    compiled_parts = ("cells",)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        cells: Callable[..., nn.Module],
        patch_size: int,
        out_width: int,
        **prediction,
    ):
        super().__init__(image_shape, num_classes, **prediction)
        channels, height, width = self.frame_shape
        fitting = [size for size in range(1, patch_size + 1) if height % size == 0 and width % size == 0]
        if patch_size not in fitting:
            raise UserError(
                f"model.patch_size={patch_size}: frames of {height}x{width} don't divide into such patches; "
                f"give {max(fitting, default=1)}"
            )
        self.patch_size = patch_size
        patches = channels * patch_size**2
        self.cells = cells(in_channels=patches, size=(height // patch_size, width // patch_size))
        parameters = self.output_shape[0] * patch_size**2
        self.frame = nn.Conv2d(patches, parameters, 3, padding=1)
        self.change = nn.Sequential(
            nn.Conv2d(self.cells.width + patches, out_width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(out_width, parameters, 3, padding=1),
        )
        with torch.no_grad():
            self.frame.bias.zero_()
            self.frame.weight.zero_()
            nn.init.dirac_(self.frame.weight[:patches])  # the likelihood's locations come first

    def read(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        patches = F.pixel_unshuffle(frames, self.patch_size)
        hidden, state = self.cells(patches, state)
        read = patches.flatten(0, 1)
        parameters = self.frame(read) + self.change(torch.cat([hidden.flatten(0, 1), read], dim=1))
        return F.pixel_shuffle(parameters.float().unflatten(0, frames.shape[:2]), self.patch_size), state
