"""Files that are exact copies of others: a test image that was trained on is no test."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

from lightning_gen.data.folder_scan import each, shown


def doubts_of_copies(root: Path, files: Mapping[str, list[Path]], num_threads: int) -> list[str]:
    """A line about files, by split, with the same bytes as others; those that can't be read have none."""
    split_of = {path: split for split, paths in files.items() for path in paths}
    groups = [
        group
        for alike in _alike(split_of, each(lambda path: _size(root / path), list(split_of), num_threads))
        for group in _alike(alike, each(lambda path: _digest(root / path), alike, num_threads))
    ]
    if not groups:
        return []
    copies = sum(len(group) - 1 for group in groups)
    first, second = groups[0][:2]
    are = "is an exact copy" if copies == 1 else "are exact copies"
    line = f"{copies:,} of {len(split_of):,} files {are} of others, as {shown(second)} of {shown(first)}"
    crossing = [group for group in groups if len({split_of[path] for path in group}) > 1]
    if not crossing:
        return [f"{line}: they count twice in training; remove them"]
    one, other = crossing[0][0], next(path for path in crossing[0] if split_of[path] != split_of[crossing[0][0]])
    across = f"{shown(one)} ({split_of[one]}) and {shown(other)} ({split_of[other]})"
    return [f"{line}; {len(crossing):,} are in several splits, as {across}, so scores are too good: remove them"]


def _alike(paths: Iterable[Path], keys: Mapping[Path, Hashable]) -> list[list[Path]]:
    """The groups of several paths with the same key that is not None."""
    groups: dict[Hashable, list[Path]] = defaultdict(list)
    for path in paths:
        groups[keys[path]].append(path)
    return [group for key, group in groups.items() if key is not None and len(group) > 1]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None
