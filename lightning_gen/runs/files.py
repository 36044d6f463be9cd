"""Files of a run folder, which may be a stranger's.

Only regular files are read that lie inside of it, also after links are followed, and only so many bytes of them.
"""

import json
import os
import stat
from itertools import islice
from pathlib import Path
from typing import Any

MOST_ENTRIES = 20_000  # of a folder
MOST_BYTES = 50_000_000  # of a JSON file


def inside(folder: Path, name: str) -> Path | None:
    """The regular file `name` of a folder; None if there is none, or if it lies outside, as by a link or `..`."""
    try:  # a list of runs asks this of thousands of files: most are no links, and directly in the folder
        if os.sep not in name and stat.S_ISREG(os.lstat(plain := folder / name).st_mode):
            return plain
    except (OSError, ValueError):
        return None
    path = _resolved(folder, name)
    return path if path and path.is_file() else None


def names_in(folder: Path, name: str) -> list[str]:
    """The names in the subfolder `name` in their order; none if there is no such folder, or if it lies outside."""
    path = _resolved(folder, name)
    if path is None or not path.is_dir():
        return []
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in islice(entries, MOST_ENTRIES))
    except OSError:
        return []


def _resolved(folder: Path, name: str) -> Path | None:
    try:
        path = (folder / name).resolve(strict=True)
        return path if path.is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name that no file can have
        return None


def text_of(folder: Path, name: str, most: int) -> str:
    """The text of a file, its beginning and its end if it has more than `most` bytes; empty if there is no file."""
    path = inside(folder, name)
    if path is None:
        return ""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= most:
            return file.read(most).decode(errors="replace")
        start = file.read(most // 2)
        file.seek(-(most // 2), os.SEEK_END)
        return b"\n[...]\n".join([start.rpartition(b"\n")[0], file.read(most // 2).partition(b"\n")[2]]).decode(
            errors="replace"
        )


def json_of(folder: Path, name: str, most: int = MOST_BYTES) -> Any:
    """The content of a JSON file; None if there is no file. ValueError if it is damaged or has more than `most` bytes.

    A file that is nested too deeply raises RecursionError.
    """
    path = inside(folder, name)
    if path is None:
        return None
    if path.stat().st_size > most:
        raise ValueError(f"more than {most >> 20} MiB")
    return json.loads(path.read_text())


def sound_json_of(folder: Path, name: str) -> Any:
    """As `json_of`, and None for a file that is damaged or too large."""
    try:
        return json_of(folder, name)
    except (OSError, ValueError, RecursionError):
        return None
