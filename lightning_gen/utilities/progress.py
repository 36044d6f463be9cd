"""Says how far a long computation is: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

SECONDS_BETWEEN_LINES = 30


class Advance(Protocol):
    """Counts `images` more as done."""

    def __call__(self, images: float) -> None: ...


def silent(images: float) -> None:
    """Tell nobody."""


@contextmanager
def progress(title: str, total: int, enabled: bool = True) -> Iterator[Advance]:
    """Yield a function to be told of each `n` images done of `total`. Lines go to stderr, and say n and seconds."""
    if not enabled:
        yield silent
    elif sys.stderr.isatty():
        with _bar(title, total) as advance:
            yield advance
    else:
        yield _lines(title, total)


@contextmanager
def sampling_progress(model: Any, n: int, advance: Advance) -> Iterator[None]:
    """Count the `n` images that the model draws within: at the end, or as they come where it tells (`on_progress`).

    Without a model they are files, and counted at the end.
    """
    told = 0.0

    def tell(images: float) -> None:
        nonlocal told
        told += images
        advance(images)

    if model is not None:
        model.on_progress = tell
    try:
        yield
    finally:
        if model is not None:
            model.on_progress = None
    advance(n - told)


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
