"""Features of sequences from an extractor of frames: means over time, and mean changes between frames.

Unlike in FVD, no network has learned motion from videos: motion is only the change of the frames' features.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)

MAX_FRAMES = 64  # extracted at once


class VideoExtractor(Extractor):
    """`(B, T, C, H, W)` to `(B, 2d)`: means over time of `d` features, then of their absolute change between frames.

    Both are invariant to the direction of time. `frames` holds the extractor of single frames.
    """

    takes_clips = True
    frames: Extractor

    def __init__(self, frames: dict[str, Any]):
        super().__init__()
        chosen = [extractor for extractor in frames.values() if extractor]
        if len(chosen) != 1 or chosen[0].takes_clips:
            raise UserError(
                f"extractor@extractor.clips.frames=[{','.join(frames)}]: give one extractor of single images"
            )
        self.frames = chosen[0]
        self.channels = self.frames.channels
        self.name = f"clips_{self.frames.name}"
        self.num_features = 2 * self.frames.num_features

    def why_not(self, image_shape: tuple[int, ...]) -> str | None:
        """It takes sequences."""
        return "takes sequences, and the data are single images" if len(image_shape) == 3 else None

    def features(self, images: Tensor) -> Tensor:
        """Means over time and mean changes; zeros for the changes of a single frame."""
        batch, length = images.shape[:2]
        chunks = [self.frames.features(chunk).float() for chunk in images.flatten(0, 1).split(MAX_FRAMES)]
        features = torch.cat(chunks).unflatten(0, (batch, length))  # (B, T, d)
        change = features.diff(dim=1).abs().sum(1) / max(length - 1, 1)
        return torch.cat([features.mean(1), change], dim=1)

    def protocol(self) -> dict[str, Any]:
        """The pooling over time, and the protocol of the frames' extractor."""
        return {
            "name": self.name,
            "num_features": self.num_features,
            "clips": "mean over time; mean absolute change between frames",
            "frames": self.frames.protocol(),
        }
