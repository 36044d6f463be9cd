"""Data sets of image files that decode them once: later starts and other processes map the pixels from disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lightning_gen.bounds import PositiveFloat
from lightning_gen.data.cache import cache_dir
from lightning_gen.data.disk_cache import DAMAGED, DiskCache
from lightning_gen.data.file_index import FileIndex, read_index
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.inspection import Rows
from lightning_gen.data.pixel_cache import DecodedImages, MappedImages, mapped_pixels
from lightning_gen.data.source import StreamSource
from lightning_gen.errors import UserError

MANY = 5_000  # files, from which on `cache=auto` keeps them


@dataclass(kw_only=True, eq=False, repr=False)
class CachedImageData(ImageData):
    """A data set whose decoded images `cache` keeps on disk; `auto` does so for 5,000 files or more.

    They are in `cache_dir` (null: `images` in the cache), which takes at most `cache_gb` GiB.
    """

    # Defaults for configs from before these keys.
    cache: bool | Literal["auto"] = False
    cache_dir: str | None = None
    cache_gb: PositiveFloat = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        folder = cache_dir() / "images" if self.cache_dir is None else Path(self.cache_dir).expanduser()
        if self.cache is not False and folder.exists() and not folder.is_dir():
            raise UserError(f"data.cache_dir={folder} is not a folder: name one, or set data.cache=false")
        self.disk_cache = DiskCache(folder, int(self.cache_gb * 2**30))

    def uses_cache(self, files: int) -> bool:
        """Whether a data set of so many files is kept."""
        return self.cache is True or (self.cache == "auto" and files >= MANY)

    def inspect(self) -> Rows:
        """What the `inspect` command prints; it decodes few images, so none are kept."""
        self.cache = False
        return super().inspect()

    def sources_of(self, index: FileIndex, images: DecodedImages, origin: object) -> dict[str, StreamSource]:
        """The sources of an index, of which `images` decodes the files; `origin` tells how. Adds to `notes`.

        The files are decoded now, unless pixels of the same origin and stamps are on disk.
        """
        parts: dict[str, Part | MappedImages] = {split: Part(images, rows) for split, rows in index.rows.items()}
        if index.stamps is not None:
            pixels = mapped_pixels(self.disk_cache, origin, index.stamps, images, self.workers())
            if isinstance(pixels, str):
                self.notes.append(f"decoded images are not kept on disk: {pixels}")
            else:
                parts = {split: MappedImages(pixels, rows) for split, rows in index.rows.items()}
                self.notes.append(f"decoded images are kept in {self.disk_cache.folder}; data.cache=false decodes anew")
        return {split: StreamSource(part, index.labels[split], self.workers()) for split, part in parts.items()}


class Part:
    """The images at `rows` of a larger set, decoded when they are asked for."""

    def __init__(self, images: DecodedImages, rows: Tensor) -> None:
        self.images = images
        self.rows = rows
        self.image_shape = images.image_shape

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[int(self.rows[index])]


def kept_index(cache: DiskCache, name: str, root: Path, make: Callable[[], FileIndex]) -> FileIndex:
    """The index `name` of the files below `root` in a cache, or one from `make` that is put there if possible."""
    with cache.locked(name):
        if index := _read(cache, name, root):
            return index
        index = make()
        cache.write(name, index.num_bytes, index.write)
    return _read(cache, name, root) or index


def _read(cache: DiskCache, name: str, root: Path) -> FileIndex | None:
    file = cache.open(name)
    try:
        index = read_index(file, root) if file else None
        return index if index and _fit(index.facts) else None
    except DAMAGED:
        return None


def _fit(facts: Mapping[str, Any]) -> bool:
    """Whether these are facts that a data set has written."""
    size, texts = facts["size"], [*facts["notes"], *(facts["class_names"] or [])]
    numbers = [facts["channels"], *size]
    return (
        len(size) == 2
        and all(isinstance(number, int) and number > 0 for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and isinstance(facts["digests"], dict)
    )
