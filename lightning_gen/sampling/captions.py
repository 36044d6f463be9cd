"""Words in a margin of a picture, beside or above its images and never over them."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_gen.images import grid, moving_grid

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

SMALLEST, LARGEST = 12, 28  # pixels, of the font
BORDER = 2  # pixels, of grids
GAP = 4  # pixels, around words
LACKING = "\U0010fffe"  # a letter of no font
LONGEST = 24  # characters; longer names are cut
# Fonts with other scripts than Latin, where a system has one of them.
OTHER_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "msyh.ttc", "PingFang.ttc", "DejaVuSans.ttf")


def title(picture: Tensor, words: str, size: int = SMALLEST) -> Tensor:
    """A picture `(..., C, H, W)` with words above it, `(..., C, H', W')`; it gets wider if they are."""
    text = _line(words, size)
    width = max(picture.shape[-1], text.shape[1] + 2 * GAP)
    band = _written(_black(picture, len(text), width), text, 0, GAP)
    side = _black(picture, picture.shape[-2], width - picture.shape[-1])
    return torch.cat([band, torch.cat([picture, side], -1)], -2)


def row_captions(picture: Tensor, words: Sequence[str]) -> Tensor:
    """A grid `(..., C, H, W)` with words to the left of each of its rows, `(..., C, H, W')`."""
    height = (picture.shape[-2] - BORDER) // len(words)
    lines = [_line(line, min(max(SMALLEST, height // 4), LARGEST, height))[:height] for line in words]
    margin = _black(picture, picture.shape[-2], max(line.shape[1] for line in lines) + 2 * GAP)
    for row, line in enumerate(lines):
        _written(margin, line, BORDER + row * height + (height - len(line)) // 2, GAP)
    return torch.cat([margin, picture], -1)


def image_captions(images: Tensor, words: Sequence[str], size: int | None = None) -> Tensor:
    """Images `(B, ..., C, H, W)` with words above each, all of one size, `(B, ..., C, H', W')`.

    `size` is that of the font, by default by that of the images.
    """
    size = size or min(max(SMALLEST, images.shape[-2] // 4), LARGEST)
    captioned = [title(image, line, size) for image, line in zip(images, words, strict=True)]
    width = max(image.shape[-1] for image in captioned)
    sides = [_black(image, image.shape[-2], width - image.shape[-1]) for image in captioned]
    return torch.stack([torch.cat(pair, -1) for pair in zip(captioned, sides, strict=True)])


def class_grid(images: Tensor, labels: Tensor | None, columns: int | None, names: Sequence[str]) -> Tensor:
    """The grid of images `(B, C, H, W)`, or the moving one of sequences, captioned with the classes of `labels`.

    A row has its class beside it; where several classes share a row, each image has its own above it, and where there
    is one class, it is above the grid. Without labels there are no captions.
    """
    laid = grid if images.ndim == 4 else moving_grid
    if labels is None:
        return laid(images, columns)
    words = [class_caption(label, names) for label in labels.tolist()]
    if len(set(words)) == 1:
        return title(laid(images, columns), words[0])
    columns = columns or math.ceil(math.sqrt(len(words)))
    rows = [words[start : start + columns] for start in range(0, len(words), columns)]
    if all(len(set(row)) == 1 for row in rows):
        return row_captions(laid(images, columns), [row[0] for row in rows])
    return laid(image_captions(images, words), columns)


def class_caption(label: int, names: Sequence[str]) -> str:
    """The name of a class, cut if it is long; its number if it has none, or none that can be written here."""
    name = names[label] if label < len(names) else ""
    if not name.strip() or not any(_has_glyphs(font, name) for font in _fonts(SMALLEST)):
        return str(label)
    return name if len(name) <= LONGEST else name[: LONGEST - 2] + ".."


def _black(picture: Tensor, height: int, width: int) -> Tensor:
    """A black, opaque piece `(..., C, height, width)` of the kind of a picture."""
    low, high = (0, 255) if picture.dtype == torch.uint8 else (-1, 1)
    piece = picture.new_full((*picture.shape[:-2], height, width), low)
    if picture.shape[-3] == 4:
        piece[..., 3, :, :] = high
    return piece


def _written(piece: Tensor, text: Tensor, top: int, left: int) -> Tensor:
    """Write `text`, uint8 `(h, w)`, on a black piece, in place."""
    values = text.to(piece.device)
    colors = piece[..., :3, top : top + len(text), left : left + text.shape[1]]
    colors.copy_(values if piece.dtype == torch.uint8 else values / 127.5 - 1)
    return piece


def font_for(words: str, size: int) -> "FreeTypeFont | ImageFont":
    """The first font that has all letters of the words; Pillow's own if there is none."""
    return next((font for font in _fonts(size) if _has_glyphs(font, words)), _fonts(size)[0])


@cache
def _line(words: str, size: int) -> Tensor:
    """White on black, uint8 `(height, width)`, of one height for each size."""
    from PIL import Image, ImageDraw

    font = font_for(words, size)
    width, height = int(font.getbbox(words)[2]) + 1, int(_fonts(size)[0].getbbox("Ag|")[3]) + GAP
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((0, GAP // 2), words, fill=255, font=font)
    return torch.from_numpy(np.array(image))


@cache
def _fonts(size: int) -> list["FreeTypeFont | ImageFont"]:
    """Pillow's own font, then those of the system with other scripts."""
    from PIL import ImageFont

    found: list[FreeTypeFont | ImageFont.ImageFont] = [ImageFont.load_default(size)]
    for name in OTHER_FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return found


def _has_glyphs(font: "FreeTypeFont | ImageFont", words: str) -> bool:
    """Whether the font has all letters: those that it lacks look like one that no font has."""
    return words.isascii() or _drawn(font, LACKING) not in (_drawn(font, letter) for letter in words if letter.strip())


def _drawn(font: "FreeTypeFont | ImageFont", letter: str) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("L", (2 * LARGEST, 2 * LARGEST))
    ImageDraw.Draw(image).text((0, 0), letter, fill=255, font=font)
    return image.tobytes()
