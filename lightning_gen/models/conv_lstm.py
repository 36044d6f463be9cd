"""Predicting frames with a convolutional LSTM, https://arxiv.org/abs/1506.04214."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lightning_gen.models.frame_predictor import ScheduledPredictor
from lightning_gen.networks.next_frame import NextFrame


class ConvLSTM(ScheduledPredictor):
    """`NextFrame` of recurrent `cells`."""

    averaged_parts = ("next_frame",)
    compiled_parts = ("next_frame",)

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
        self.next_frame = NextFrame(
            self.frame_shape, self.output_shape[0], cells=cells, patch_size=patch_size, out_width=out_width
        )

    def read(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.next_frame(frames, state)
