"""Image files to uint8 pixels: any of Pillow's modes, any size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lightning_gen.errors import UserError

Resize = Literal["crop", "stretch", "pad"]
# Pillow's errors for broken files have no common base; `Image.DecompressionBombError` is a plain Exception.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("1", "L", "LA", "La", *_SIXTEEN_BITS)
_EXIF_ORIENTATION = 0x0112


class ImageFiles:
    """A map-style data set of image files as uint8 `(channels, *size)`; UserError for unreadable ones."""

    def __init__(self, paths: list[Path], channels: int, size: tuple[int, int], resize: Resize) -> None:
        self.paths = paths
        self.channels = channels
        self.size = size
        self.resize = resize

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return to_tensor(image, self.channels, self.size, self.resize)
        except UNREADABLE as error:
            raise UserError(unreadable(path, error)) from error


def unreadable(path: Path, error: Exception) -> str:
    return f"data.skip_unreadable=false: {path} cannot be read ({reason(error)}), remove it or set true"


def reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of the config's `size`, one number for squares."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def check_format(channels: int | None, size: int | list[int] | None, resize: str) -> None:
    """UserError unless the config's `channels`, `size` and `resize` are valid."""
    if channels not in (None, 1, 3, 4):
        raise UserError(f"data.channels={channels}: choose 1 (gray), 3 (RGB), 4 (RGBA) or null (as the files)")
    sides = [1, 1] if size is None else [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or any(side < 1 for side in sides):
        raise UserError(f"data.size={size}: give a number, [height,width] or null (as the files)")
    if resize not in ("crop", "stretch", "pad"):
        raise UserError(f"data.resize={resize}: choose crop, stretch or pad")


def to_tensor(image: Image.Image, channels: int, size: tuple[int, int], resize: Resize) -> Tensor:
    """uint8 `(channels, *size)`; transparency is blended with white unless `channels` is 4; `size` is (H, W)."""
    image = fit(with_channels(ImageOps.exif_transpose(image), channels), size, resize)
    pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1).contiguous()


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image with 8 bits in 1 (gray), 3 (RGB) or 4 (RGBA) channels."""
    if image.mode in _SIXTEEN_BITS:
        image = _eight_bits(image)
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if channels != 4 and _transparent(image):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels])


def fit(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """Antialiased to (height, width): `crop` cuts the longer side, `pad` adds black, `stretch` changes the aspect."""
    height, width = size
    if image.size == (width, height):
        return image
    if resize == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    if resize == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def header(image: Image.Image) -> tuple[tuple[int, int], str]:
    """(height, width) as displayed, and Pillow's mode, without decoding the image."""
    width, height = image.size
    # Pillow would decode a whole PNG to find Exif data at its end.
    has_exif = image.format != "PNG" or "exif" in image.info
    sideways = has_exif and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    return ((width, height) if sideways else (height, width)), image.mode


def is_gray(mode: str) -> bool:
    return mode in _GRAY


def bit_depth(mode: str) -> int:
    return 1 if mode == "1" else 16 if mode in _SIXTEEN_BITS else 32 if mode == "F" else 8


def _eight_bits(image: Image.Image) -> Image.Image:
    # 65535 = 255 * 257; Pillow's own convert("L") clips at 255.
    pixels = np.asarray(image).astype(np.float64).clip(0, 65535)
    return Image.fromarray((pixels / 257).round().astype(np.uint8))


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
