"""A folder of images: sub-folders are classes; `train`, `val` and `test` sub-folders are splits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.cached import CachedImageData, kept_index
from lightning_gen.data.decode import ImageFiles, Resize, check_format, check_range, is_gray, pair, unreadable
from lightning_gen.data.disk_cache import short_hash
from lightning_gen.data.duplicates import doubts_of_copies
from lightning_gen.data.file_index import FileIndex, Names
from lightning_gen.data.folder_scan import (
    FEW,
    Contents,
    Parts,
    common_size,
    each,
    find,
    is_image,
    named_as_splits,
    natural,
    read_headers,
    shown,
)
from lightning_gen.data.image_data import SPLITS
from lightning_gen.data.inspection import Rows, counted
from lightning_gen.data.listing import listing_of, stamps_of
from lightning_gen.data.pixel_cache import decoder
from lightning_gen.data.pixels import decode_errors, doubts_of_files, examine, shown_ranges, shown_transparency
from lightning_gen.data.source import StreamSource, first_of
from lightning_gen.data.splitting import Pool, SplitBy, check_fractions, digest
from lightning_gen.errors import UserError
from lightning_gen.utilities.text_lists import listed


@dataclass(kw_only=True, eq=False, repr=False)
class Folder(CachedImageData):
    """The images under `path`, all converted to `channels` x `size` (null: those of the files).

    With `labels` false, sub-folders are not classes. `split` is the fractions of train, val and test; a split with a
    folder of its own keeps its images. With `split_by=path` an image's path decides its split, whatever other files
    there are. `skip_unreadable` decodes every file once at the start and skips failures. `range` is the values that
    become black and white; None: the least and the greatest of 8 or 16 bits.
    """

    path: str
    channels: PositiveInt | None
    size: int | list[int] | None
    resize: Resize
    labels: bool
    split: list[float]
    skip_unreadable: bool
    # The only default outside of YAML: a config without this key is of a run from before it, whose splits and labels
    # stay as they were.
    split_by: SplitBy = "number"
    range: list[float] | None = None  # a config from before this key lacks it

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format(self.channels, self.size, self.resize)
        check_fractions(self.split)
        self.limits = check_range(self.range)
        self.files: dict[str, list[Path]] = {}  # by split, relative to the folder, by `load`
        self.unreadable: dict[Path, str] = {}  # reasons, of files that are left out
        self.root = Path(self.path).expanduser()
        self.name = self.root.resolve().name

    def load(self) -> Mapping[str, StreamSource]:
        listing = None if self.cache is False else listing_of(self.root)
        if listing is None or not self.uses_cache(listing.files):
            return self._load_files()
        name = f"files-{short_hash((decoder(), self._settings))}-{listing.digest}.npy"
        index = kept_index(self.disk_cache, name, self.root, lambda: folder_index(self._read_anew(), self.root))
        facts = index.facts
        self.class_names, self.digests, self.notes = facts["class_names"], facts["digests"], list(facts["notes"])
        images = ImageFiles(index.names, facts["channels"], tuple(facts["size"]), self._resize, self.limits)
        return self.sources_of(index, images, (self._settings[0], images.image_shape, self._resize, self.limits))

    @property
    def _settings(self) -> tuple:
        """The folder, and all keys by which its listing is read."""
        keys = (self.channels, self.size, self.resize, self.labels, self.split, self.seed)
        return str(self.root.resolve()), *keys, self.skip_unreadable, self.split_by, self.range

    @property
    def _resize(self) -> Resize | None:
        return None if self.size is None else self.resize

    def _read_anew(self) -> "Folder":
        """The same data without the cache, for what is forgotten afterwards: its paths take much memory."""
        anew = replace(self, cache=False)
        anew.sources = dict(anew.load())
        return anew

    @cached_property
    def pool(self) -> Pool:  # pyrefly: ignore[bad-override]
        """The files from which splits are drawn."""
        return self._read_anew().pool

    def _load_files(self) -> Mapping[str, StreamSource]:
        contents, parts = self._contents
        files, depth = parts.files, parts.depth
        contents.check(self.root, self.skip_unreadable)
        if self.skip_unreadable:
            files = self._readable(files)
        channels, size = self._format([path for paths in files.values() for path in paths])
        self.pool = Pool(
            [path.as_posix() for path in files["train"]], list(files), self.split, self.seed, self.split_by
        )
        files, labeled = self.pool.draw(files), self._labeled(files, depth)
        if not files["train"]:
            raise UserError(f"data.path={self.path}: no image is for training, {self.fix_for('train')}")
        classes = {split: [path.parts[depth] for path in files[split]] for split in labeled}
        self.class_names = self._names(classes)
        self.files = files
        notes = [*contents.notes(sum(map(len, files.values()))), *self.pool.notes()]
        self.notes = notes + self._doubts(files, labeled, depth) + self._pixel_notes(files)
        self.digests = {split: digest([path.as_posix() for path in paths]) for split, paths in files.items()}
        return {split: self._source(files[split], classes.get(split), channels, size) for split in SPLITS}

    def _pixel_notes(self, files: dict[str, list[Path]]) -> list[str]:
        """Lines about unreadable files that are left out, and about those whose pixels may be meant otherwise."""
        used = [path for paths in files.values() for path in paths]
        notes = doubts_of_files(self.root, used, self.workers(), self.limits)
        if self.unreadable:
            names = [f"{shown(path)} ({why})" for path, why in self.unreadable.items()]
            counts = f"{len(names):,} of {len(used) + len(names):,} image files"
            notes.insert(0, f"left out, unreadable: {counts}: {listed(names, ', ')}")
        return notes

    @cached_property
    def _contents(self) -> tuple[Contents, Parts]:
        """What there is, and the images of each split that has its own folder, else all as `train`."""
        kind, by_number = "images (png, jpg, webp, tiff, ...)", self.split_by == "number"
        return find(self.root, f"data.path={self.path}", is_image, kind, by_number, self.skip_unreadable)

    def _readable(self, files: dict[str, list[Path]]) -> dict[str, list[Path]]:
        readable = {}
        for split, paths in files.items():
            errors = decode_errors(self.root, paths, self.workers(), self.channels, self.limits)
            self.unreadable |= errors
            readable[split] = [path for path in paths if path not in errors]
        if not readable["train"]:
            raise UserError(f"data.path={self.path}: none of the {len(files['train'])} image files can be read")
        return readable

    def _format(self, paths: list[Path]) -> tuple[int, tuple[int, int]]:
        """The channels and (height, width) of all images, from the config or else from the files' headers."""
        if self.size is not None and self.channels is not None:
            return self.channels, pair(self.size)
        headers, errors = read_headers(self.root, paths, self.workers())
        if errors:
            raise UserError(first_of([unreadable(self.root / path, error) for path, error in errors.items()]))
        channels = self.channels or (1 if all(is_gray(header.mode) for header in headers.values()) else 3)
        return channels, common_size(self.path, headers) if self.size is None else pair(self.size)

    def _labeled(self, files: dict[str, list[Path]], depth: int) -> list[str]:
        """The splits whose images have class folders, the first ones below the root or the split's folder."""
        with_classes = [split for split in files if self.labels and self._has_classes(files[split], depth)]
        if "train" not in with_classes:
            return []
        return with_classes + [split for split in SPLITS if split not in files]

    def _has_classes(self, paths: list[Path], depth: int) -> bool:
        flat = next((path for path in paths if len(path.parts) == depth + 1), None)
        nested = next((path for path in paths if len(path.parts) > depth + 1), None)
        if flat and nested:
            raise UserError(
                f"data.path={self.path}: some images have a class folder ({nested}), others have none ({flat}): "
                "move them or set data.labels=false"
            )
        return nested is not None

    def _names(self, classes: dict[str, list[str]]) -> list[str] | None:
        names = sorted({name for split in classes.values() for name in split}, key=natural)
        if self.split_by == "number":
            names.sort()
        return names if len(names) > 1 else None  # one class is no label

    def _doubts(self, files: dict[str, list[Path]], labeled: list[str], depth: int) -> list[str]:
        """Lines about what may be meant otherwise than it is read."""
        doubts = self._contents[0].read_twice(self.root)
        tops = {path.parts[0] for paths in files.values() for path in paths if len(path.parts) > 1}
        if not depth and (names := sorted(named_as_splits(tops))):
            alone = f"for one alone: data.path={shown(self.root / names[0])}"
            doubts.append(f"read as {'classes' if labeled else 'folders'}, not as splits: {', '.join(names)} ({alone})")
        if self.labels:
            doubts += class_doubts(files, labeled, depth)
        return doubts

    def _source(
        self, paths: list[Path], classes: list[str] | None, channels: int, size: tuple[int, int]
    ) -> StreamSource:
        images = ImageFiles([self.root / path for path in paths], channels, size, self._resize, self.limits)
        labels = None
        if self.class_names is not None and classes is not None:
            number = {name: index for index, name in enumerate(self.class_names)}
            labels = torch.tensor([number[name] for name in classes], dtype=torch.int64)
        return StreamSource(images, labels, self.workers())

    def fix_for(self, split: str) -> str:
        return self.pool.fix_for(split)

    def inspect(self) -> Rows:
        """Facts of the files; then, if they can be loaded as configured, of the data as models see them."""
        _, parts = self._contents
        paths = [path for paths in parts.files.values() for path in paths]
        headers, _ = read_headers(self.root, paths, self.workers())
        found = each(lambda path: examine(self.root / path, self.channels or 3, self.limits), paths, self.workers())
        pixels = {path: facts for path, (facts, _) in found.items() if facts}
        errors = {path: why for path, (_, why) in found.items() if why}
        clear = shown_transparency(list(pixels.values()), self.channels or 3)
        rows: Rows = [
            ("path", str(self.root)),
            ("files", f"{len(paths):,}"),
            ("sizes", counted(f"{height}x{width}" for (height, width), _ in headers.values())),
            ("modes", counted(header.mode for header in headers.values())),
            ("bits", counted(str(header.bit_depth) for header in headers.values())),
            ("values", shown_ranges(pixels.values())),
            ("frames", counted(str(facts.frames) for facts in pixels.values())),
            *([("transparent", clear)] if clear else []),
            ("unreadable", listed([f"{shown(path)} ({error})" for path, error in errors.items()]) or "none"),
        ]
        refused = [unreadable(self.root / path, ValueError(why)) for path, why in errors.items()]
        problems = [("problem", first_of(refused))] if refused and not self.skip_unreadable else []
        self.skip_unreadable = True  # the other files are described, too
        try:
            rows += super().inspect()
            rows += [("warning", line) for line in doubts_of_copies(self.root, self.files, self.workers())]
            return [*rows, *problems]
        except UserError as error:
            notes = listed(self._contents[0].notes_left_out()) or "none"
            return [*rows, ("notes", notes), *problems, ("problem", str(error))]


def class_doubts(files: dict[str, list[Path]], labeled: list[str], depth: int) -> list[str]:
    """Lines about classes that may be meant otherwise; `depth` is that of their folders, `labeled` are splits."""
    doubts = []
    paths = [path for split in labeled for path in files[split]]
    if unlabeled := [split for split in SPLITS if files[split] and split not in labeled]:
        if labeled:
            doubts.append(f"without class folders, so without labels: {', '.join(unlabeled)}")
        elif any(len(path.parts) > depth + 1 for split in unlabeled for path in files[split]):
            doubts.append("class folders are not read: the training images have none")
    names = sorted({path.parts[depth] for path in paths})
    if deeper := sorted({shown("/".join(path.parts[: depth + 2])) for path in paths if len(path.parts) > depth + 2}):
        doubts.append(f"folders in classes are not read as classes: {listed(deeper, ', ', FEW)}")
    if len(names) == 1:
        doubts.append(f"one class is no label: {shown(names[0])}")
    if alike := [shown(name) for name in names if sum(name.casefold() == n.casefold() for n in names) > 1]:
        doubts.append(f"classes that differ only in case: {listed(alike, ', ', FEW)}")
    if missing := sorted(set(names) - {path.parts[depth] for path in files["train"] if labeled}, key=natural):
        doubts.append(f"classes without training images: {listed(list(map(shown, missing)), ', ', FEW)}")
    return doubts


def folder_index(data: Folder, root: Path) -> FileIndex:
    """The index of a folder that was read, with its files in the order of their names."""
    paths = sorted({path for part in data.files.values() for path in part}, key=Path.as_posix)
    number = {path: place for place, path in enumerate(paths)}
    rows = {split: torch.tensor([number[path] for path in data.files[split]], dtype=torch.int64) for split in SPLITS}
    channels, *size = data.sources["train"].image_shape
    facts = {"class_names": data.class_names, "digests": data.digests, "notes": data.notes}
    facts |= {"channels": channels, "size": size}
    labels = {split: source.labels for split, source in data.sources.items()}
    return FileIndex(Names.of(root, paths), rows, labels, facts, stamps=stamps_of(root, paths))
