"""Names from files, folders and checkpoints, safe to print: a terminal obeys the control characters in them."""

import logging
import unicodedata

# Control characters, and those that reorder or hide text.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """`text` as one line with its control characters, newlines too, as escapes such as `\\x1b`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) if unicodedata.category(letter) in _UNSAFE else letter for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


class PrintableFilter(logging.Filter):
    """Makes the messages of a logger printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message."""
        record.msg, record.args = printable(record.getMessage()), ()
        return True
