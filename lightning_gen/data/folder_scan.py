"""The contents of a folder of images: files, splits, and headers with size and mode, read without decoding."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lightning_gen.data.decode import UNREADABLE, bit_depth, header, opened
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import closest

# fmt: off
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2",
}
# fmt: on
Item = TypeVar("Item")
_SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


class Header(NamedTuple):
    """(height, width) and Pillow's mode of one file."""

    size: tuple[int, int]
    mode: str

    @property
    def bit_depth(self) -> int:
        return bit_depth(self.mode)


def check_folder(root: Path) -> None:
    """UserError unless `root` is a folder."""
    if root.is_dir():
        return
    if root.exists():
        raise UserError(f"data.path={root} is not a folder: give the folder that holds the images")
    siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
    similar = closest(root.name, siblings, limit=1)
    hint = f"did you mean {root.parent / similar[0]}?" if similar else "give a folder of images"
    raise UserError(f"data.path={root} does not exist: {hint}")


def split_folders(root: Path) -> dict[str, str]:
    """The folder of each split that has one; `{"train": ""}`, the root itself, when there is none for training."""
    check_folder(root)
    present = {path.name.lower(): path.name for path in root.iterdir() if path.is_dir()}
    found = {split: present[name] for split, names in _SPLIT_NAMES.items() for name in names[::-1] if name in present}
    return found if "train" in found else {"train": ""}


def find_images(root: Path, folder: Path) -> list[Path]:
    """All image files at any depth, sorted, relative to `root`; hidden files and folders are left out."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        found += [path.relative_to(root) for path in paths if path.suffix.lower() in SUFFIXES]
    return sorted(found, key=Path.as_posix)


def read_headers(root: Path, paths: list[Path], num_threads: int) -> tuple[dict[Path, Header], dict[Path, Exception]]:
    """The headers of the files, and the errors of unreadable ones."""

    def read(path: Path) -> Header | Exception:
        try:
            with opened(root / path) as image:
                return Header(*header(image))
        except UNREADABLE as error:
            return error

    found = each(read, paths, num_threads)
    headers = {path: result for path, result in found.items() if isinstance(result, Header)}
    return headers, {path: result for path, result in found.items() if isinstance(result, Exception)}


def common_size(root: str, headers: dict[Path, Header]) -> tuple[int, int]:
    """The (height, width) that all files have; UserError if they differ."""
    sizes = Counter(header.size for header in headers.values())
    if len(sizes) == 1:
        return next(iter(sizes))
    (height, width), other = (size for size, _ in sizes.most_common(2))
    first, second = (
        next(path for path, header in headers.items() if header.size == size) for size in ((height, width), other)
    )
    raise UserError(
        f"data.path={root}: images differ in size, {first} is {height}x{width} and {second} is "
        f"{other[0]}x{other[1]}: set data.size=[{height},{width}] (data.resize=crop, pad or stretch)"
    )


def each(function: Callable[[Item], Any], items: list[Item], num_threads: int) -> dict[Item, Any]:
    """The function's result for each item, by threads (Pillow releases the interpreter lock)."""
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        return dict(zip(items, pool.map(function, items), strict=True))
