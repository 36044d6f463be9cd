"""Base of extractors: fixed networks from images to the features that metrics compare."""

import hashlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.extractors.resizing import RESIZE_MODES, ResizeMode
from lightning_gen.extractors.weights import hash_of
from lightning_gen.images import over_white


class Extractor(nn.Module):
    """Maps uint8 images `(B, C, H, W)` of any size, gray, RGB or RGBA, to float32 features `(B, num_features)`.

    Subclasses set `name` (part of score names) and `num_features`, and implement `features`; those that classify also
    implement `logits`, those with settings add them to `protocol`. An extractor never trains, ignores autocast, and is
    never part of a model or checkpoint. With `takes_clips` it maps sequences `(B, T, C, H, W)`; otherwise frames of
    sequences are single images.
    """

    name: str
    num_features: int
    channels = 3  # input channels of `features`: 1 (gray), 3 or 4 (RGBA)
    takes_clips = False
    takes_fractions = True  # whether `features` also takes floats in 0...255
    # Of extractors whose `protocol` is made by `_protocol`:
    sha256: str  # of the weights
    resize: ResizeMode

    def protocol(self) -> dict[str, Any]:
        """What features depend on besides the images, as plain data: weights, their hash, resizing, normalization.

        By default the name, the hash of the weights, and that of the class's code: cached features are of both.
        """
        code = hashlib.sha256(_source_of(type(self)).encode()).hexdigest()
        protocol = {"name": self.name, "num_features": self.num_features, "code_sha256": code}
        weights = self.state_dict()
        return protocol | ({"weights_sha256": hash_of(weights)} if weights else {})

    def _protocol(self, input_size: int | list[int], normalization: str, **more: Any) -> dict[str, Any]:
        """The protocol of an extractor with `resize` and `sha256`."""
        return {
            "name": self.name,
            "weights_sha256": self.sha256,
            "num_features": self.num_features,
            "resize": RESIZE_MODES[self.resize],
            "input_size": input_size,
            "normalization": normalization,
            **more,
        }

    def why_not(self, image_shape: tuple[int, ...]) -> str | None:
        """Why it can't extract features of images or sequences of this shape; None if it can."""
        return None

    def features(self, images: Tensor) -> Tensor:
        """Features of images `(B, channels, H, W)`, uint8, or floats in 0...255 with `takes_fractions`."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor | None:
        """Logits `(B, K)` of features `(B, num_features)`; None for a network that does not classify."""
        return None

    def score_name(self, score: str) -> str:
        """The full name of a score of these features, which includes the extractor."""
        return f"{score}/{self.name}"

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images; TypeError for other types, whose range would be unknown."""
        if images.dtype != torch.uint8:
            raise TypeError(f"an extractor takes uint8 images, not {images.dtype}")
        return self._extract(images)

    @torch.no_grad()
    def unrounded(self, images: Tensor) -> Tensor:
        """Features of images in [-1, 1] without rounding to 8 bits; needs `takes_fractions`."""
        return self.with_gradients(images)

    def with_gradients(self, images: Tensor) -> Tensor:
        """As `unrounded`, with gradients with respect to the images."""
        return self._extract((images.float().clamp(-1, 1) + 1) * 127.5)

    def _extract(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self.features(as_channels(images, self.channels)).float()

    def train(self, mode: bool = True) -> "Extractor":
        """Stay in evaluation mode: batch statistics would make features depend on the batch."""
        return super().train(False)


def _source_of(cls: type) -> str:
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # typed into a notebook or an interpreter
        return f"{cls.__module__}.{cls.__qualname__}"


def protocol_of(extractor: Extractor, image_shape: tuple[int, ...]) -> dict[str, Any]:
    """The protocol of an extractor for images of a shape, which says what becomes of transparency."""
    blended = image_shape[-3] == 4 and extractor.channels != 4
    return {"name": extractor.name} | extractor.protocol() | ({"alpha": "blended with white"} if blended else {})


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images `(..., 1 | 3 | 4, H, W)` in 0...255 with `channels` channels: 1 (gray), 3 (RGB) or 4 (RGBA).

    Gray is repeated three times, colors become their luma (ITU-R 601-2, rounded for uint8), alpha is blended with white
    or added as opaque.
    """
    if images.shape[-3] == channels:
        return images
    if images.shape[-3] == 4:
        bytes_given = images.dtype == torch.uint8
        images = over_white(images) if bytes_given else (over_white(images / 127.5 - 1) + 1) * 127.5
    given = images.shape[-3]
    if given == channels:
        return images
    if channels == 1:
        red, green, blue = images.float().unbind(-3)
        luma = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
        return luma.round().to(torch.uint8) if images.dtype == torch.uint8 else luma
    colors = images.expand(*images.shape[:-3], 3, -1, -1) if given == 1 else images
    return colors if channels == 3 else torch.cat([colors, torch.full_like(colors[..., :1, :, :], 255)], dim=-3)
