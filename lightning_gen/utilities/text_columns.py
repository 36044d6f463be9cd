"""Columns of names and numbers as lines of text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import combining, east_asian_width

from lightning_gen.utilities.printable import printable

Columns = Mapping[str, Sequence[Any]]  # by their heads, equally long


def column_lines(columns: Columns, most: int, where: str) -> list[str]:
    """A head and at most `most` rows, text to the left and numbers to the right; `where` tells of the other rows."""
    rows = len(next(iter(columns.values())))
    parts = [_column(head, values[:most]) for head, values in columns.items()]
    lines = ["  ".join(row).rstrip() for row in zip(*parts, strict=True)]
    return [*lines, f"... and {rows - most:,} more{where}"] if rows > most else lines


def _column(head: str, values: Sequence[Any]) -> list[str]:
    cells = [printable(head), *map(_text, values)]
    width = max(map(_width, cells))
    left = all(isinstance(value, str) for value in values)
    spaces = [" " * (width - _width(cell)) for cell in cells]
    return [cell + space if left else space + cell for cell, space in zip(cells, spaces, strict=True)]


def _width(text: str) -> int:
    """The columns of a terminal that a text takes: two for each Chinese, Japanese or Korean letter."""
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return printable(str(value))
