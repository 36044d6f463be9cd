"""The contents of a folder of images: files, splits, and headers with size and mode, read without decoding."""

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from lightning_gen.data.decode import UNREADABLE, bit_depth, header, opened, unreadable
from lightning_gen.data.source import first_of
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import closest
from lightning_gen.utilities.text_lists import listed

# fmt: off
SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2",
}
# fmt: on
Item = TypeVar("Item")
_SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
FEW = 10  # names in one line of a log
READ_ALREADY = "links to folders that are read already, or that hold the data"


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


class Parts(NamedTuple):
    """The files of each split that has a folder, and these folders; without them all files as `train`."""

    files: dict[str, list[Path]]
    folders: dict[str, str]

    @property
    def depth(self) -> int:
        """That of the folders of classes."""
        return 1 if self.folders else 0


@dataclass
class Contents:
    """Files at any depth and folders of a root, relative to it and sorted, and by reason what is left out.

    Hidden files, folders of operating systems, and what is neither file nor folder are left out. Each folder is read
    once, however many links lead to it, under its own path if that is in the root; a folder that holds the root is not
    read again. `links` are the files that are links, `errors` those of folders that can't be read; `seen` counts files.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[Path, OSError] = field(default_factory=dict)
    seen: int = 0

    def parts(self, wanted: Callable[[Path], bool], lone_train: bool) -> Parts:
        """The files that are `wanted`, by split; the others are left out.

        A folder `train` is the training split if there is one for another split too, or if no other folder has such
        files, or if it alone has folders (classes) in it. Else it is a folder like the others. `lone_train`: it is the
        split in any case.
        """
        files = [path for path in self.files if wanted(path)]
        self.leave_out("of another kind", [shown(path) for path in self.files if not wanted(path)])
        self.leave_out("folders with nothing to read", [f"{shown(folder)}/" for folder in self._empty(files)])
        folders = _split_folders(self.top_folders, files, lone_train)
        if not folders:
            return Parts({"train": files}, {})
        parts = {split: [path for path in files if path.parts[0] == name] for split, name in folders.items()}
        taken = {path for part in parts.values() for path in part}
        outside = Counter((path.parts[0], len(path.parts) > 1) for path in files if path not in taken)
        names = [shown(name) + (f"/ ({count:,})" if folder else "") for (name, folder), count in outside.items()]
        self.leave_out("beside the folders of the splits", names)
        return Parts(parts, folders)

    @property
    def top_folders(self) -> list[str]:
        return [folder.name for folder in self.folders if len(folder.parts) == 1]

    def notes(self, used: int) -> list[str]:
        """Lines with the counts of files and with what is left out."""
        counts = f"{self.seen:,} files seen, {used:,} used, {self.seen - used:,} left out"
        return [counts, *self.notes_left_out()]

    def notes_left_out(self) -> list[str]:
        return [f"left out, {reason}: {listed(sorted(names), ', ', FEW)}" for reason, names in self.left_out.items()]

    def read_twice(self, root: Path) -> list[str]:
        """A line about links to files of the root that are read under their own names too."""
        files, real = set(self.files), root.resolve()
        targets = {link: Path(os.path.realpath(root / link)) for link in self.links}  # `resolve` raises for loops
        twice = [link for link, file in targets.items() if real in file.parents and file.relative_to(real) in files]
        return [f"read twice, by links too: {listed(list(map(shown, twice)), ', ', FEW)}"] if twice else []

    def check(self, root: Path, skip_unreadable: bool) -> None:
        """Leave out folders that cannot be read, or raise UserError unless `skip_unreadable`."""
        errors = [unreadable(root / folder, error) for folder, error in self.errors.items()]
        if errors and not skip_unreadable:
            raise UserError(first_of(errors))
        self.left_out.pop("unreadable", None)
        self.leave_out("unreadable", [f"{shown(folder)}/" for folder in self.errors])

    def add(self, path: Path, entry: os.DirEntry) -> bool:
        """Add a file, or leave out what is neither file nor folder, or hidden; whether it is a folder to be read."""
        kind = _kind(entry)
        self.seen += kind != "folder"
        if entry.name.startswith(".") or entry.name in SYSTEM:
            self.leave_out("hidden or of the system", [shown(path) + "/" * (kind == "folder")])
            return False
        if kind == "file" or (kind == "nothing" and path.suffix):  # reading nothing fails, which names it
            self.files.append(path)
            if entry.is_symlink():
                self.links.append(path)
        elif kind != "folder":
            reason = "links that lead nowhere" if kind == "nothing" else "neither files nor folders"
            self.leave_out(reason, [shown(path)])
        return kind == "folder"

    def leave_out(self, reason: str, names: Iterable[str]) -> None:
        """Note the `names` of files or folders that are not used."""
        if names := list(names):
            self.left_out.setdefault(reason, []).extend(names)

    def _empty(self, used: list[Path]) -> list[Path]:
        """The folders without any of the files; of folders in folders, the outer one."""
        full = {parent for path in used for parent in path.parents} | {Path()}
        return [folder for folder in self.folders if folder not in full and folder.parent in full]


def named_as_splits(names: Iterable[str]) -> list[str]:
    """Those of the names that a split's folder may have."""
    known = {name for names in _SPLIT_NAMES.values() for name in names}
    return [name for name in names if name.lower() in known]


def _split_folders(top_folders: list[str], files: list[Path], lone_train: bool) -> dict[str, str]:
    """The folders of the splits; empty when there is none for training."""
    found = {}
    for split, names in _SPLIT_NAMES.items():
        near = [name for name in top_folders if name.lower() in names]
        if near:
            found[split] = min(near, key=lambda name: (names.index(name.lower()), name not in names, name))
    if "train" not in found or len(found) > 1 or lone_train:
        return found if "train" in found else {}
    inside = [len(path.parts) for path in files if path.parts[0] == found["train"]]
    outside = [len(path.parts) for path in files if len(path.parts) > 1 and path.parts[0] != found["train"]]
    alone_has_folders = min(inside, default=0) > 2 and max(outside, default=0) == 2
    return found if not outside or alone_has_folders else {}


def scan(root: Path) -> Contents:
    """What is in the folder `root`."""
    contents = Contents()
    known = {_identity(folder) for folder in (root.resolve(), *root.resolve().parents)}
    folders, links = [Path()], deque[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.popleft()  # links last: folders have their own paths
        try:
            if folder != Path():
                identity = _identity(root / folder)
                if identity in known:
                    contents.leave_out(READ_ALREADY, [f"{shown(folder)}/"])
                    continue
                known.add(identity)
                contents.folders.append(folder)
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            contents.errors[folder] = error
            continue
        inner = [folder / entry.name for entry in entries if contents.add(folder / entry.name, entry)]
        links.extend(path for path in inner if (root / path).is_symlink())
        folders.extend(path for path in inner if not (root / path).is_symlink())
    contents.files.sort(key=Path.as_posix)
    contents.folders.sort(key=Path.as_posix)
    return contents


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _kind(entry: os.DirEntry) -> Literal["folder", "file", "nothing", "other"]:
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else "nothing" if not os.path.exists(entry) else "other"
    except OSError:  # a link to itself
        return "nothing"


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def find_images(root: Path, folder: Path) -> list[Path]:
    """All image files at any depth, sorted, relative to `root`; hidden files and folders are left out."""
    found = [(folder / path).relative_to(root) for path in scan(folder).files if is_image(path)]
    return sorted(found, key=Path.as_posix)


def natural(name: Path | str) -> tuple[list[int | str], str]:
    """A key to sort by that has 2 before 10."""
    text = name if isinstance(name, str) else name.as_posix()
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", text))], text


def shown(path: Path | str) -> str:
    """A name as it can be printed: control characters and bytes that are no text are escaped."""
    text = path if isinstance(path, str) else path.as_posix()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def find(
    root: Path, key: str, is_wanted: Callable[[Path], bool], kind: str, by_number: bool, skip_unreadable: bool
) -> tuple[Contents, Parts]:
    """What there is, and the wanted files of each split that has its own folder, else all as `train`.

    UserError, which begins with `key` and names the `kind` of files, if there are none for training.
    """
    check_folder(root)
    contents = scan(root)
    parts = contents.parts(is_wanted, lone_train=by_number)
    if not parts.files["train"]:
        contents.check(root, skip_unreadable)
        raise UserError(f"{key}: there are no {kind} in {root / parts.folders.get('train', '')}")
    return contents, parts


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
