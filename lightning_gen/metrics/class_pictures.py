"""Pictures of what a classifier gets right and wrong: a confusion matrix, and a grid of mistakes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_gen.images import enlarged, grid
from lightning_gen.sampling.captions import class_caption, font_for, image_captions

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

FONT, LINE = 14, 18  # pixels, of letters and from line to line
GAP = 6  # pixels around text and images
SIDE = 96  # least pixels of the longer side of a captioned image
NAMED = 50  # most classes of a matrix with names and numbers
TITLE = "rows: true class, columns: predicted"
RIGHT, WRONG = (30, 90, 160), (200, 60, 40)  # colors of the diagonal and beside it


def confusion_picture(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Tensor:
    """Numbers of images by true class (rows) and predicted class (columns), uint8 `(3, H, W)`.

    A larger share of its row is darker.
    """
    from PIL import Image, ImageDraw

    shown = [class_caption(number, names) for number in range(len(names))] if len(names) <= NAMED else []
    cell = max(LINE, *(_width(str(number)) for row in counts for number in row)) + GAP if shown else GAP
    left = max(map(_width, shown), default=0) + 2 * GAP
    upright = left - 2 * GAP <= cell
    top = LINE + (LINE if upright else left) + GAP
    size = max(left + cell * len(names), _width(TITLE) + GAP) + GAP, top + cell * len(names) + GAP
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((GAP, GAP), TITLE, "black", font_for(TITLE, FONT))
    for number, name in enumerate(shown):
        draw.text((left - GAP, top + cell * (number + 0.5)), name, "black", font_for(name, FONT), "rm")
        if upright:
            draw.text((left + cell * (number + 0.5), top - GAP), name, "black", font_for(name, FONT), "mb")
        else:
            picture.paste(_turned(name, left - GAP, cell), (left + cell * number, top - left))
    for number, row in enumerate(counts):
        _draw_row(draw, row, number, (left, top + cell * number), cell, bool(shown))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _turned(text: str, length: int, height: int) -> "Image":
    """Text that reads upwards."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (length, height), "white")
    ImageDraw.Draw(line).text((0, height / 2), text, "black", font_for(text, FONT), "lm")
    return line.transpose(Image.Transpose.ROTATE_90)


def _draw_row(
    draw: "ImageDraw", row: Sequence[int], number: int, corner: tuple[int, int], cell: int, written: bool
) -> None:
    total = max(1, sum(row))
    for column, count in enumerate(row):
        left, top = corner[0] + cell * column, corner[1]
        share = math.sqrt(count / total)  # the root: a few mistakes are to be seen too
        color = tuple(round(255 + (value - 255) * share) for value in (RIGHT if column == number else WRONG))
        draw.rectangle((left, top, left + cell, top + cell), color, "lightgray" if written else None)
        if written and count:
            ink = "white" if share > 0.6 else "black"
            draw.text((left + cell / 2, top + cell / 2), str(count), ink, font_for("0", FONT), "mm")


def mistakes_picture(images: Tensor, true: Sequence[str], predicted: Sequence[str]) -> Tensor:
    """A grid of uint8 images `(B, C, H, W)`, enlarged where they are small, under their true and predicted classes."""
    larger = enlarged(images, max(1, round(SIDE / max(images.shape[-2:]))))
    captioned = image_captions(larger, [f"-> {name}" for name in predicted], FONT)
    return grid(image_captions(captioned, true, FONT), border=GAP)


def _width(text: str) -> int:
    return math.ceil(font_for(text, FONT).getlength(text))
