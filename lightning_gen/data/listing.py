"""A fingerprint of a folder: the names, kinds, sizes and times of all that `folder_scan.scan` would read."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_gen.data.folder_scan import SYSTEM


class Listing(NamedTuple):
    """The number of files at any depth, and a hash that changes with any of them."""

    files: int
    digest: str


def listing_of(root: Path) -> Listing | None:
    """The listing of a folder, without opening a file; None if a part of it cannot be read."""
    folders, files = [""], 0
    digest = hashlib.blake2b(digest_size=8)
    try:
        known = {_identity(parent) for parent in root.resolve().parents}
        while folders:
            folder = folders.pop()
            if (identity := _identity(root / folder)) in known:  # links to folders may go in circles
                continue
            known.add(identity)
            with os.scandir(root / folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                kind, line = _described(entry)
                digest.update(f"{folder}{entry.name}\0{line}\0".encode(errors="surrogateescape"))
                files += kind == "file"
                if kind == "folder":
                    folders.append(f"{folder}{entry.name}/")
    except OSError:
        return None
    return Listing(files, digest.hexdigest())


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _described(entry: os.DirEntry) -> tuple[str, str]:
    """The kind of an entry, and what of it may change."""
    if entry.name.startswith(".") or entry.name in SYSTEM:  # only named in the log
        return "other", str(entry.is_dir())
    link = os.path.realpath(entry.path) if entry.is_symlink() else ""
    if link and not os.path.exists(link):
        return "other", link
    if entry.is_dir():
        return "folder", link
    status = entry.stat()
    return "file", f"{link} {entry.is_file()} {status.st_size} {status.st_mtime_ns}"


def stamps_of(root: Path, names: Sequence[Path]) -> np.ndarray:
    """A stamp `(N, 16)` uint8 of each file: a hash of its name, size and time."""
    stamps = bytearray()
    for name in names:
        status = os.stat(root / name)
        line = f"{name.as_posix()}\0{status.st_size} {status.st_mtime_ns}"
        stamps += hashlib.blake2b(line.encode(errors="surrogateescape"), digest_size=16).digest()
    return np.frombuffer(bytes(stamps), np.uint8).reshape(-1, 16)
