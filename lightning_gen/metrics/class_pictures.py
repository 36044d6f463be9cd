"""Pictures with text: a confusion matrix, and a grid of captioned images."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import combining, normalize

from torch import Tensor

from lightning_gen.images import to_pillow

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

LINE = 18  # pixels from line to line of text
GAP = 6  # pixels around text and images
SIDE = 96  # least pixels of the longer side of a captioned image
NAMED = 50  # most classes of a matrix with names and numbers
LONGEST = 24  # letters of a name
TITLE = "rows: true class, columns: predicted"
RIGHT, WRONG = (30, 90, 160), (200, 60, 40)  # colors of the diagonal and beside it


def confusion_picture(counts: Sequence[Sequence[int]], names: Sequence[str]) -> "Image":
    """Numbers of images by true class (rows) and predicted class (columns); a larger share of its row is darker."""
    from PIL import Image

    shown = [drawable(name, str(number)) for number, name in enumerate(names)] if len(names) <= NAMED else []
    cell = max(LINE, *(_width(str(number)) for row in counts for number in row)) + GAP if shown else GAP
    left = max(map(_width, shown), default=0) + 2 * GAP
    upright = left - 2 * GAP <= cell
    top = LINE + (LINE if upright else left) + GAP
    size = max(left + cell * len(names), _width(TITLE) + GAP) + GAP, top + cell * len(names) + GAP
    picture = Image.new("RGB", size, "white")
    draw = _draw(picture)
    draw.text((GAP, GAP), TITLE, "black")
    for number, name in enumerate(shown):
        draw.text((left - GAP, top + cell * (number + 0.5)), name, "black", anchor="rm")
        if upright:
            draw.text((left + cell * (number + 0.5), top - GAP), name, "black", anchor="mb")
        else:
            picture.paste(_turned(name, left - GAP, cell), (left + cell * number, top - left))
    for number, row in enumerate(counts):
        _draw_row(draw, row, number, (left, top + cell * number), cell, bool(shown))
    return picture


def _turned(text: str, length: int, height: int) -> "Image":
    """Text that reads upwards."""
    from PIL import Image

    line = Image.new("RGB", (length, height), "white")
    _draw(line).text((0, height / 2), text, "black", anchor="lm")
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
            draw.text((left + cell / 2, top + cell / 2), str(count), ink, anchor="mm")


def captioned_grid(images: Tensor, captions: Sequence[Sequence[str]]) -> "Image":
    """uint8 images `(B, C, H, W)`, enlarged where they are small, each above the lines of its caption."""
    from PIL import Image

    scale = max(1, round(SIDE / max(images.shape[-2:])))
    height, width = (scale * side for side in images.shape[-2:])
    lines = max(map(len, captions))
    across = max(width, *(_width(line) for caption in captions for line in caption)) + 2 * GAP
    down = height + LINE * lines + 2 * GAP
    columns = min(len(images), max(1, round(math.sqrt(len(images) * down / across))))
    picture = Image.new("RGB", (columns * across, math.ceil(len(images) / columns) * down), "white")
    draw = _draw(picture)
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = number % columns * across + GAP, number // columns * down + GAP
        shown = to_pillow(image).convert("RGBA").resize((width, height), Image.Resampling.NEAREST)
        picture.paste(shown, (left, top), shown)
        draw.text((left, top + height + 2), "\n".join(caption), "black", spacing=LINE - 14)
    return picture


def drawable(name: str, otherwise: str) -> str:
    """A name, shortened and without accents; `otherwise` for letters that Pillow's own font lacks."""
    plain = "".join(letter for letter in normalize("NFKD", name) if not combining(letter))
    short = plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 3]}..."
    return short if short.isascii() and short.isprintable() else otherwise


def _draw(picture: "Image") -> "ImageDraw":
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    draw.font = _font()
    return draw


@cache
def _font() -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(14)


def _width(text: str) -> int:
    return math.ceil(_font().getlength(text))
