"""Names from files, folders and checkpoints, safe to print: a terminal obeys the control characters in them."""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import LogRecord

# Control characters, and those that reorder or hide text.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """`text` as one line with its control characters, newlines too, as escapes such as `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) if unicodedata.category(letter) in _UNSAFE else letter for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def make_printable(record: "LogRecord") -> bool:
    """A filter of a logger, which makes its messages printable and lets all pass."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True
