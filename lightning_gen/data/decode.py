"""Image files to uint8 pixels: any of Pillow's modes, any size, values of any range."""

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lightning_gen.errors import UserError

Resize = Literal["crop", "stretch", "pad"]
Limits = tuple[float, float]  # values that become 0 and 255
# Pillow's errors for broken files have no common base; `Image.DecompressionBombError` is a plain Exception.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    RuntimeError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("1", "L", "LA", "La", "F", *_SIXTEEN_BITS)
_EXIF_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_FORMAT = 256, 257, 258, 262, 339


class Samples(NamedTuple):
    """How a file stores the values of its pixels, as its header says; `inverted`: zero is white."""

    bits: int = 8
    signed: bool = False
    inverted: bool = False


class ImageFiles:
    """A map-style data set of image files as uint8 `(channels, *size)`; UserError for unreadable ones.

    With `resize` None all must have the size. `limits` are the values that become 0 and 255; None: those of the bits.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        channels: int,
        size: tuple[int, int],
        resize: Resize | None,
        limits: Limits | None = None,
    ) -> None:
        self.paths = paths
        self.channels = channels
        self.size = size
        self.resize = resize
        self.limits = limits

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.channels, *self.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        path = self.paths[index]
        try:
            with opened(path) as image:
                return to_tensor(image, self.channels, self.size, self.resize, self.limits)
        except UNREADABLE as error:
            raise UserError(unreadable(path, error)) from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The image in a file, not yet decoded."""
    # By its name, Pillow would map an uncompressed TIFF that is turned by a quarter, and scramble its pixels.
    with path.open("rb") as file, Image.open(file) as image:
        yield image


def unreadable(path: Path, error: Exception) -> str:
    fix = "remove it, or leave such files out with data.skip_unreadable=true"
    return f"data.skip_unreadable=false: {path} cannot be read ({reason(error)}): {fix}"


def reason(error: Exception) -> str:
    """The first line of what a library has to say, without the file object that Pillow names in it."""
    return str(error).partition("\n")[0].partition(" <_io.")[0] or type(error).__name__


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


def check_range(limits: Sequence[float] | None) -> Limits | None:
    """The config's `range` as a pair; UserError unless it is null or two finite numbers, the lower first."""
    if limits is None:
        return None
    if len(limits) != 2 or not all(map(math.isfinite, limits)) or limits[0] >= limits[1]:
        raise UserError(f"data.range={list(limits)}: give the values that are black and white, as [0,4095], or null")
    return limits[0], limits[1]


def to_tensor(
    image: Image.Image, channels: int, size: tuple[int, int], resize: Resize | None, limits: Limits | None = None
) -> Tensor:
    """uint8 `(channels, *size)` of an image that was just opened; `size` is (H, W), as of `fit`.

    Values of `limits` become 0 and 255; transparency is blended with white unless `channels` is 4.
    """
    image = fit(with_channels(image, channels, limits), size, resize)
    pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1).contiguous()


def with_channels(
    image: Image.Image, channels: int, limits: Limits | None = None, samples: Samples | None = None
) -> Image.Image:
    """The image upright, with 8 bits in 1 (gray), 3 (RGB) or 4 (RGBA) channels.

    `samples` is of before it was decoded; None for an image that was just opened.
    """
    samples = samples or samples_of(image)
    image = _eight_bits(ImageOps.exif_transpose(image), samples, limits)
    if channels != 4 and _transparent(image):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == _MODES[channels] else image.convert(_MODES[channels])


def fit(image: Image.Image, size: tuple[int, int], resize: Resize | None) -> Image.Image:
    """Antialiased to (height, width): `crop` cuts the longer side, `pad` adds black, `stretch` changes the aspect.

    ValueError for another size with `resize` None.
    """
    height, width = size
    if image.size == (width, height):
        return image
    if resize is None:  # Exif data at the end of a file turn it after its header was read
        raise ValueError(f"it is {image.height}x{image.width}, its header says {height}x{width}")
    if resize == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    if resize == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def header(image: Image.Image) -> tuple[tuple[int, int], str]:
    """(height, width) as displayed, and Pillow's mode, without decoding the image."""
    width, height = image.size
    if tags := getattr(image, "tag_v2", None):  # newer versions of Pillow give the size of TIFFs as displayed
        width, height = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
    # Pillow would decode a whole PNG to find Exif data at its end.
    has_exif = image.format != "PNG" or "exif" in image.info
    sideways = has_exif and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    return ((width, height) if sideways else (height, width)), image.mode


def samples_of(image: Image.Image) -> Samples:
    """How the file of an image that was just opened stores values."""
    bits = bit_depth(image.mode)
    if tags := getattr(image, "tag_v2", None):
        stored = max((8, *tags.get(_TIFF_BITS, ())))
        signed = tags.get(_TIFF_FORMAT, (1,))[0] == 2
        # Pillow inverts 8 bits itself.
        return Samples(stored, signed, inverted=bits > 8 and tags.get(_TIFF_PHOTOMETRIC) == 0)
    deep_colors = bits == 8 and any(";16" in str(tile[3]) for tile in getattr(image, "tile", []))
    return Samples(16 if deep_colors else bits)


def is_gray(mode: str) -> bool:
    return mode in _GRAY


def bit_depth(mode: str) -> int:
    return 1 if mode == "1" else 16 if mode in _SIXTEEN_BITS else 32 if mode == "F" else 8


def values(image: Image.Image, samples: Samples) -> np.ndarray:
    """The numbers `(H, W)` that a file of one channel holds, or the levels `(H, W[, C])` of other images."""
    if image.mode in ("P", "PA", "1"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    # Pillow reads 8 bits as unsigned and 32 bits as signed numbers.
    if samples.signed and pixels.dtype == np.uint8:
        return pixels.view(np.int8)
    if samples.bits == 32 and not samples.signed and pixels.dtype == np.int32 and (pixels < 0).any():
        return pixels.view(np.uint32)
    return pixels


def full_range(mode: str, samples: Samples) -> Limits | None:
    """The values that are black and white by default; None for floating-point numbers, whose range is unknown."""
    if mode == "F":
        return None
    return 0, 2 ** min(samples.bits, 16) - 1 if mode in _SIXTEEN_BITS else 255


def _eight_bits(image: Image.Image, samples: Samples, limits: Limits | None) -> Image.Image:
    """The image with values of `limits` as 0 and 255, between them to the nearest, and others clipped."""
    if image.mode not in (*_SIXTEEN_BITS, "F") and not samples.signed:
        if limits is None:
            return image
        if samples.bits > 8:
            raise ValueError("colors of 16 bits are read as 8 bits, without data.range: convert it to 8 bits")
        return _stretched(image, limits)
    limits = limits or full_range(image.mode, samples)
    if limits is None:
        raise ValueError("floating-point values have no known range: give data.range=[lo,hi]")
    numbers = values(image, samples)
    if np.isnan(numbers).any():
        raise ValueError("some values are NaN")
    levels = scaled(numbers, limits)
    gray = Image.fromarray(255 - levels if samples.inverted else levels)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the value of transparent pixels
        gray.putalpha(Image.fromarray(np.where(numbers == clear, 0, 255).astype(np.uint8)))
    return gray


def scaled(numbers: np.ndarray, limits: Limits) -> np.ndarray:
    """uint8, from `limits` to 0 and 255; Pillow's own conversion clips at 255."""
    low, high = limits
    return ((numbers.astype(np.float64).clip(low, high) - low) * 255 / (high - low)).round().astype(np.uint8)


def _stretched(image: Image.Image, limits: Limits) -> Image.Image:
    colors = "L" if is_gray(image.mode) else "RGB"
    alpha = "A" if _transparent(image) else ""
    table = scaled(np.arange(256), limits).tolist()
    return image.convert(colors + alpha).point(table * len(colors) + list(range(256)) * len(alpha))


def has_clear_pixels(image: Image.Image) -> bool:
    """Whether some pixel is transparent, or half so."""
    if not _transparent(image):
        return False
    deep = image.mode in (*_SIXTEEN_BITS, "F")  # whose transparency is one of their values
    return deep or bool((np.asarray(image.convert("RGBA").getchannel("A")) < 255).any())


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
