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

    A convolution makes the next frame of what they say and of the frame itself, at first the same frame again. If cells
    had to pass it on, to copy would have to be learned first, and for long the mean image is all that is predicted.
    """

    averaged_parts = ("cells", "out")
    compiled_parts = ("cells",)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        cells: Callable[..., nn.Module],
        patch_size: int,
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
        self.out = nn.Conv2d(self.cells.width + patches, self.output_shape[0] * patch_size**2, 3, padding=1)
        with torch.no_grad():
            self.out.bias.zero_()
            self.out.weight[:, self.cells.width :] = 0
            nn.init.dirac_(self.out.weight[:patches, self.cells.width :])  # the likelihood's locations come first

    def read(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        patches = F.pixel_unshuffle(frames, self.patch_size)
        hidden, state = self.cells(patches, state)
        parameters = self.out(torch.cat([hidden, patches], dim=2).flatten(0, 1)).float().unflatten(0, frames.shape[:2])
        return F.pixel_shuffle(parameters, self.patch_size), state
