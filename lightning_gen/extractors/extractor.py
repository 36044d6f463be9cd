"""What an extractor is: a fixed network that turns images into the features that sample metrics compare."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.extractors.resizing import PROTOCOLS


class Extractor(nn.Module):
    """Maps uint8 images `(B, C, H, W)` of any size, gray, RGB or RGBA, to float32 features `(B, num_features)`.

    Subclasses set `name` (it becomes part of the scores' names) and `num_features`, and implement `features` and
    `protocol`; those that classify have `logits` too. An extractor never trains, ignores autocast, and is never part of
    a model or of a checkpoint. One with `takes_clips` maps sequences `(B, T, C, H, W)`; for others a sequence's frames
    count by themselves.
    """

    name: str
    num_features: int
    channels = 3  # of the images that `features` gets: 1 (gray), 3 or 4 (RGBA)
    takes_clips = False
    takes_fractions = True  # whether `features` takes floats of 0...255 too, not rounded

    def protocol(self) -> dict[str, Any]:
        """What a score depends on besides the images: weights, their hash, the resize, the normalization."""
        raise NotImplementedError

    def stated(self, normalization: str, **more: Any) -> dict[str, Any]:
        """The protocol of an extractor that has a `size`, a `resize`, and the `sha256` of its weights."""
        return {
            "name": self.name,
            "weights_sha256": self.sha256,
            "num_features": self.num_features,
            "resize": PROTOCOLS[self.resize],
            "input_size": self.size,
            "normalization": normalization,
            **more,
        }

    def why_not(self, image_shape: tuple[int, ...]) -> str | None:
        """Why it can't look at images, or sequences, of this shape; None if it can."""
        return None

    def features(self, images: Tensor) -> Tensor:
        """Features of RGB images `(B, 3, H, W)`, uint8 (or of as many channels as `channels` says)."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor | None:
        """The class scores `(B, K)` that belong to features; None for a network that does not classify."""
        return None

    def score_name(self, score: str) -> str:
        """What a score of these features is called: names that say nothing of the network are those of others."""
        return f"{score}/{self.name}"

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images; raises TypeError for another type, which would be of another range."""
        if images.dtype != torch.uint8:
            raise TypeError(f"an extractor takes uint8 images, not {images.dtype}")
        return self._extract(images)

    @torch.no_grad()
    def unrounded(self, images: Tensor) -> Tensor:
        """Features of images in [-1, 1] that are not rounded to 8 bits, where the extractor `takes_fractions`."""
        return self._extract((images.float().clamp(-1, 1) + 1) * 127.5)

    def _extract(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self.features(as_channels(images, self.channels)).float()

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode: batch statistics would make features depend on the batch."""
        return super().train(False)


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images `(..., 1 | 3 | 4, H, W)` of 0...255 with another number of channels, one of these too.

    Gray is repeated three times, colors become gray by their luma (ITU-R 601-2, rounded if they are uint8), alpha is
    dropped, or opaque where it is wanted and there is none.
    """
    given = images.shape[-3]
    if given == channels:
        return images
    if channels == 1:
        red, green, blue = images[..., :3, :, :].float().unbind(-3)
        luma = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
        return luma.round().to(torch.uint8) if images.dtype == torch.uint8 else luma
    colors = images.expand(*images.shape[:-3], 3, -1, -1) if given == 1 else images[..., :3, :, :]
    return colors if channels == 3 else torch.cat([colors, torch.full_like(colors[..., :1, :, :], 255)], dim=-3)
