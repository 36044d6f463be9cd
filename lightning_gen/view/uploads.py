"""Pictures that a browser sends: bounded before they are decoded, and used as pixels alone."""

from io import BytesIO

import torch
from PIL import Image
from torch import Tensor

from lightning_gen.data.decode import UNREADABLE, to_tensor
from lightning_gen.data.loader import normalize
from lightning_gen.errors import UserError

MOST_BYTES = 16 * 2**20
MOST_PIXELS = 2**25
MOST_FRAMES = 64
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def image_of(content: bytes, shape: tuple[int, ...]) -> Tensor:
    """An image file as `(1, C, H, W)` in [-1, 1] of a model's size, cropped; UserError for any other."""
    return frames_of(content, shape, most=1)[0]


def frames_of(content: bytes, shape: tuple[int, ...], most: int = MOST_FRAMES) -> Tensor:
    """The first frames of an image file, `(1, T, C, H, W)` in [-1, 1] of a model's size; UserError for any other."""
    channels, height, width = shape[-3:]
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _check_size(image)
            count = min(most, getattr(image, "n_frames", 1))
            frames = [_frame(image, number, count) for number in range(count)]
            pixels = torch.stack([to_tensor(frame, channels, (height, width), "crop") for frame in frames])
    except UNREADABLE as error:
        kinds = ", ".join(FORMATS)
        raise UserError(f"upload: is no picture that can be read ({type(error).__name__}); give {kinds}") from error
    return normalize(pixels)[None]


def _frame(image: Image.Image, number: int, count: int) -> Image.Image:
    if count == 1:
        return image
    image.seek(number)
    return image.copy()


def _check_size(image: Image.Image) -> None:
    """UserError before a picture of too many pixels is decoded."""
    if image.width * image.height > MOST_PIXELS:
        limit = MOST_PIXELS >> 20
        raise UserError(f"upload: has {image.width} x {image.height} pixels; give a picture of {limit} million at most")
