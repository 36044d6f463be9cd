"""Atomic writes: even if the process is killed, there is the old file or the new one, never a part of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    # The temporary file lies in the same folder: os.replace is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # a full disk has no name
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | os.PathLike, content: str | bytes | Callable[[IO[bytes]], Any]) -> None:
    """Write `content` (text, bytes, or a function that writes to the open binary file) to `path` atomically.

    Raises OSError (disk full, no permission), and then leaves the old file as it was.
    """
    with _replacing(Path(path)) as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)


def atomic_save(obj: Any, path: str | os.PathLike) -> None:
    """`torch.save`, atomically."""
    import torch

    atomic_write(path, lambda file: torch.save(obj, file))
