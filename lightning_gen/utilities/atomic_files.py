"""Atomic writes: even if the process is killed, there is the old file or the new one, never a part of it."""

import hashlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

OLD = 24 * 3600  # seconds since the last write, after which no process writes a file any more
_TEMPORARY = re.compile(r"\..+?(?:\.(?P<place>[0-9a-f]{8}))?\.(?P<pid>\d+)\.tmp")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    # The temporary file lies in the same folder: os.replace is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{place()}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):  # a full disk has no name
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@cache
def place() -> str:
    """Eight digits for the host, and for the container in it, whose processes `os.kill` knows."""
    container = os.readlink("/proc/self/ns/pid") if os.path.exists("/proc/self/ns/pid") else ""
    return hashlib.blake2b(f"{socket.gethostname()} {container}".encode(), digest_size=4).hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left in `folder` of their writes.

    A file of another host on a shared file system, or of a version that named none, stays until it is a day old.
    """
    with suppress(OSError):  # no such folder, or not ours to clean
        for entry in os.scandir(folder):
            name = _TEMPORARY.fullmatch(entry.name)
            if name and entry.is_file(follow_symlinks=False) and _is_left(name, entry.stat().st_mtime):
                Path(entry.path).unlink(missing_ok=True)


def _is_left(name: re.Match[str], written: float) -> bool:
    if time.time() - written > OLD:
        return True
    return name["place"] == place() and not is_alive(int(name["pid"]))


def is_alive(pid: int) -> bool:
    """Whether there is a process of this number on this host, or in this container."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


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
