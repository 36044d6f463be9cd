"""The log of a run: on the screen, and in `log.txt`, which also holds what others print."""

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path

from lightning_gen.errors import UserError

log = logging.getLogger("lightning_gen")

PRINTED = {"printed": True}  # `extra` of a record that is on the screen already


def note_printed(lines: Iterable[str]) -> None:
    """Add lines to `log.txt` that are printed by other means than the log."""
    for line in lines:
        log.info("%s", line, extra=PRINTED)


@contextmanager
def run_log(folder: Path | None) -> Iterator[None]:
    """Within it our log goes to the screen and to `log.txt` in the folder, and so do warnings and the user's mistakes.

    None: only warnings of our log, and on the screen. Lightning's advertisements and false alarms are silent.
    """
    _set_up(folder)
    show = warnings.showwarning

    def show_and_note(message, category, filename, lineno, file=None, line=None) -> None:
        show(message, category, filename, lineno, file, line)
        note_printed(warnings.formatwarning(message, category, filename, lineno, line).splitlines())

    warnings.showwarning = show_and_note
    try:
        yield
    except UserError as error:
        note_printed([f"error: {error}"])
        raise
    finally:
        warnings.showwarning = show


def _set_up(folder: Path | None) -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    log.setLevel(logging.INFO if folder else logging.WARNING)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    log.addHandler(_tolerant(_Screen()))
    if folder:
        # Opened at the first message, and again if it was moved or removed.
        log.addHandler(_tolerant(WatchedFileHandler(folder / "log.txt", delay=True)))


class _Screen(logging.StreamHandler):
    """Writes to the `sys.stdout` of the moment: a progress bar replaces it, to print above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "printed"):
            self.stream = sys.stdout
            super().emit(record)


def _tolerant(handler: logging.Handler) -> logging.Handler:
    """`handler`, silent about messages that can't be written (`| head`, a full disk): a run goes on without them."""
    report, write = handler.handleError, handler.emit

    def handle(record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            report(record)

    def emit(record: logging.LogRecord) -> None:
        with suppress(OSError):  # of a log.txt whose folder is gone: it is opened again at each message
            write(record)

    handler.handleError, handler.emit = handle, emit
    return handler
