"""Progress of long computations: a bar on a terminal, a plain line every 30 seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

SECONDS_BETWEEN_LINES = 30


class Advance(Protocol):
    """Adds `images` to the number done."""

    def __call__(self, images: float) -> None: ...


def silent(images: float) -> None:
    """Show nothing."""


@contextmanager
def progress(title: str, total: int, enabled: bool = True) -> Iterator[Advance]:
    """Yield a function that adds to the number of images done, of `total`; the progress is shown on stderr."""
    if not enabled:
        yield silent
    elif sys.stderr.isatty():
        with _bar(title, total) as advance:
            yield advance
    else:
        yield _lines(title, total)


@contextmanager
def sampling_progress(model: Any, n: int, advance: Advance) -> Iterator[None]:
    """Advance by the `n` images sampled in the context: through the model's `on_progress`, the rest at the end.

    `model` is None for images from files.
    """
    done = 0.0

    def on_progress(images: float) -> None:
        nonlocal done
        done += images
        advance(images)

    if model is not None:
        model.on_progress = on_progress
    try:
        yield
    finally:
        if model is not None:
            model.on_progress = None
    advance(n - done)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda images: bar.advance(task, images)


def _lines(title: str, total: int) -> Advance:
    start = last = time.monotonic()
    done = 0.0

    def advance(images: float) -> None:
        nonlocal done, last
        done += images
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            print(f"{title}: {done:.0f} of {total} images, {now - start:.0f} s", file=sys.stderr, flush=True)

    return advance
