"""A cache of arrays on disk: files that appear whole, are mapped into memory, and are bounded in total.

A file holds arrays in NumPy's .npy format, one after the other. Nothing in it is code, and what does not fit its header
is not mapped; so the folder may be shared with others.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lightning_gen.utilities.atomic_files import atomic_write, remove_leftovers
from lightning_gen.utilities.byte_sizes import size_text

NAME = re.compile(r"(files|pixels)-[0-9a-f]{16}-[0-9a-f]{16}\.npy")
ALIGNMENT = 64  # bytes, of each array in a file
MAX_ARRAYS = 16
DAMAGED = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError)  # what reading a damaged file raises


class MappedFile:
    """The arrays of a file, mapped copy-on-write; processes share their pages.

    As long as it is referred to, `DiskCache` does not remove the file. Raises one of `DAMAGED`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.arrays = list(_mapped(self._file))

    def __reduce__(self) -> tuple[type["MappedFile"], tuple[Path]]:
        return MappedFile, (self.path,)  # a data worker that is not forked maps it itself


def _mapped(file: IO[bytes]) -> Iterator[np.ndarray]:
    size = os.fstat(file.fileno()).st_size
    for _ in range(MAX_ARRAYS):
        if file.tell() >= size:
            return
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("not a file of this cache")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.kind not in "iu" or fortran_order or min(shape, default=0) < 1:
            raise ValueError("not a file of this cache")
        array = np.memmap(file, dtype, "c", file.tell(), shape)  # ValueError if the file is shorter
        yield array
        file.seek(_aligned(array.offset + array.nbytes))


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Append an array to a file that `MappedFile` reads."""
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    file.write(bytes(_aligned(file.tell()) - file.tell()))


def write_header(file: IO[bytes], shape: tuple[int, ...]) -> int:
    """Begin an array of uint8, the last one of a file; its bytes belong at the offset that is returned."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    file.flush()
    return file.tell()


def _aligned(place: int) -> int:
    return -(-place // ALIGNMENT) * ALIGNMENT


def short_hash(content: object) -> str:
    """16 hexadecimal digits of bytes, or of the representation of plain data."""
    content = content if isinstance(content, bytes) else repr(content).encode(errors="surrogateescape")
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@dataclass(frozen=True)
class DiskCache:
    """The files in `folder`, of at most `limit` bytes together; those that were not used for longest go first."""

    folder: Path
    limit: int

    def open(self, name: str) -> MappedFile | None:
        """A file, which now counts as used; None if there is none, or a damaged one."""
        path = self.folder / name
        try:
            mapped = MappedFile(path)
        except DAMAGED:
            return None
        with contextlib.suppress(OSError):  # of another user
            os.utime(path)
        return mapped

    def newest(self, prefix: str) -> str | None:
        """The file that was used last, of those whose names begin with `prefix`."""
        names = [name for _, _, name in self._entries() if name.startswith(prefix)]
        return names[-1] if names else None

    def write(self, name: str, num_bytes: int, fill: Callable[[IO[bytes]], None]) -> str | None:
        """Write a file of about `num_bytes` bytes by `fill`; the reason if it cannot be kept."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            problem = self._make_room(num_bytes)
            if problem is None:
                atomic_write(self.folder / name, fill)
        except OSError as error:
            return f"{self.folder}: {error.strerror}"
        return problem

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Within it no other process writes the file of this name; without locks or a folder several may do so."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(self._lock_of(name), "a"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _lock_of(self, name: str) -> Path:
        return self.folder / f".{name}.lock"

    def _entries(self) -> list[tuple[float, int, str]]:
        """The time of the last use, the bytes and the name of each file, in this order."""
        entries = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                if NAME.fullmatch(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    entries.append((status.st_mtime, status.st_size, entry.name))
        return sorted(entries)

    def _make_room(self, num_bytes: int) -> str | None:
        """Remove files until `num_bytes` more are within the limit and on the disk; the reason if they can't be."""
        if num_bytes > self.limit:
            return f"they take {size_text(num_bytes)}, more than data.cache_gb allows"
        entries = self._entries()
        used = sum(size for _, size, _ in entries)
        free = shutil.disk_usage(self.folder).free
        if num_bytes > free + used:
            return f"{self.folder}: {size_text(free)} are free, {size_text(num_bytes)} are needed"
        for _, size, name in entries:
            if used + num_bytes <= self.limit and num_bytes <= shutil.disk_usage(self.folder).free:
                return None
            if self._remove(name):
                used -= size
        if used + num_bytes > self.limit:
            return f"{self.folder} is full of data in use, raise data.cache_gb"
        return None  # a disk that is full after all fails the write

    def _remove(self, name: str) -> bool:
        """Remove a file unless a process uses it; whether it is gone."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # in use, of another user, or on a file system without locks
            return not path.exists()
        self._lock_of(name).unlink(missing_ok=True)
        return True
