"""Features of sequences from an extractor of frames: what they look like, and how much changes from frame to frame.

It is no FVD, whose network has learned motion from videos: here it is only how far the frames' features move.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor

FRAMES = 64  # looked at together


class Clips(Extractor):
    """`(B, T, C, H, W)` to `(B, 2d)`: means over time of `d` features, then of their absolute change between frames.

    Both do without the order in which time runs. `frames` holds the extractor of the single frames.
    """

    takes_clips = True

    def __init__(self, frames: dict[str, Any]):
        super().__init__()
        chosen = [extractor for extractor in frames.values() if extractor]
        if len(chosen) != 1 or chosen[0].takes_clips:
            raise UserError(
                f"extractor@extractor.clips.frames=[{','.join(frames)}]: give one extractor of single images"
            )
        (self.frames,) = chosen
        self.channels = self.frames.channels
        self.name = f"clips_{self.frames.name}"
        self.num_features = 2 * self.frames.num_features

    def why_not(self, image_shape: tuple[int, ...]) -> str | None:
        """It needs frames."""
        return "looks at sequences, and the data are single images" if len(image_shape) == 3 else None

    def features(self, images: Tensor) -> Tensor:
        """Looks and motion; a sequence of one frame has none of the latter."""
        batch, length = images.shape[:2]
        parts = [self.frames.features(part).float() for part in images.flatten(0, 1).split(FRAMES)]
        found = torch.cat(parts).unflatten(0, (batch, length))  # (B, T, d)
        change = found.diff(dim=1).abs().sum(1) / max(length - 1, 1)
        return torch.cat([found.mean(1), change], dim=1)

    def protocol(self) -> dict[str, Any]:
        """How frames are put together, and their extractor."""
        together = "mean over time; mean absolute change between frames"
        return {"name": self.name, "num_features": self.num_features, "clips": together} | {
            "frames": self.frames.protocol()
        }
