"""The pictures of a run, embedded in the page: at most so many of each series, and so many bytes."""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_gen.runs.files import inside, names_in

MOST = 24  # pictures of a series
MOST_BYTES = 8 * 2**20  # of a series; fewer pictures are taken from larger ones
MOST_PIXELS = 2**26  # of a picture: small files can hold more than a browser's memory
MOST_SERIES = 12
MOST_GENERATED = 6
SHOWN, MOST_FACTOR = 600, 8  # CSS pixels about which small pictures are enlarged to, by whole factors

GENERATED = "generated"  # the folder in that of a run to which `sample` and others write

_NAME = re.compile(r"(?P<series>.+?)_(?P<images>\d{10,15})\.(?:png|gif)")
_NUMBERED = re.compile(r"\d+\.(png|gif)")
_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")


@dataclass(frozen=True)
class Picture:
    """A picture, with the size in CSS pixels at which it is shown."""

    title: str
    data: str  # base64
    kind: str  # png or gif
    width: int
    height: int
    factor: int  # by which it is enlarged
    images: int = 0  # images seen


@dataclass(frozen=True)
class Series:
    """Pictures of one name over the course of a run, from the first to the newest."""

    name: str
    pictures: list[Picture]
    left_out: int

    @property
    def title(self) -> str:
        """The name for people: `samples, moving`."""
        return readable(self.name)


def readable(name: str) -> str:
    """`samples, moving` for `samples_moving`, `wrongly classified` for `wrongly_classified`."""
    return re.sub(r" moving$", ", moving", name.replace("_", " "))


def read_series(folder: Path) -> list[Series]:
    """The series in `samples/` of a run folder: samples first, then the others in the order of their names."""
    series = [_series(folder, name, files) for name, files in series_files(folder).items()]
    return [each for each in series if each.pictures]


def series_files(folder: Path) -> dict[str, list[str]]:
    """The names of files in `samples/` of a run folder by series, in the order of `read_series`, the newest last."""
    found: dict[str, list[str]] = {}
    for name in names_in(folder, "samples"):
        if match := _NAME.fullmatch(name):
            found.setdefault(match["series"], []).append(name)
    names = sorted(found, key=lambda name: (not name.startswith("samples"), name))[:MOST_SERIES]
    return {name: sorted(found[name], key=images_at) for name in names}


def _series(folder: Path, series: str, names: Sequence[str]) -> Series:
    sizes = [path.stat().st_size if (path := inside(folder / "samples", name)) else 0 for name in names]
    choices = (spread(len(names), count) for count in range(MOST, 0, -1))
    chosen = next((choice for choice in choices if sum(sizes[n] for n in choice) <= MOST_BYTES), [])
    pictures = [
        read_picture(folder, f"samples/{names[n]}", f"{readable(series)} after {images_at(names[n]):,} images")
        for n in chosen
    ]
    kept = [picture for picture in pictures if picture]
    return Series(series, kept, len(names) - len(kept))


def images_at(name: str) -> int:
    """Images seen, by the name of a file in `samples/`; 0 for any other."""
    match = _NAME.fullmatch(name)
    return int(match["images"]) if match else 0


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0, ..., count - 1, evenly spaced, with the last one and, of several, the first."""
    if count <= most:
        return list(range(count))
    return [count - 1] if most == 1 else [round(n * (count - 1) / (most - 1)) for n in range(most)]


def read_generated(folder: Path) -> list[Picture]:
    """The newest grids and moving pictures that `sample` and others have written to `generated/`."""
    times = reversed(names_in(folder, GENERATED)[-MOST_GENERATED:])
    paths = [(time, name) for time in times for name in names_in(folder, f"{GENERATED}/{time}")]
    paths = [(time, name) for time, name in paths if name.endswith((".png", ".gif")) and not _NUMBERED.fullmatch(name)]
    pictures, left = [], MOST_BYTES
    for time, name in paths[:MOST_GENERATED]:
        picture = read_picture(folder, f"{GENERATED}/{time}/{name}", f"{readable(Path(name).stem)}, {time}", left)
        if picture:
            pictures.append(picture)
            left -= len(picture.data)
    return pictures


def read_picture(folder: Path, name: str, title: str, most: int = MOST_BYTES) -> Picture | None:
    """The PNG or GIF `name` of a run folder; None if there is none that can be shown, or of more than `most` bytes."""
    content = picture_bytes(folder, name, most)
    if content is None:
        return None
    size = _size(content) or (0, 0)
    factor = enlargement(size)
    images = images_at(Path(name).name)
    data = base64.b64encode(content).decode()
    return Picture(title, data, kind_of(content), size[0] * factor, size[1] * factor, factor, images)


def picture_bytes(folder: Path, name: str, most: int = MOST_BYTES) -> bytes | None:
    """The content of the PNG or GIF `name` of a run folder; None as of `read_picture`."""
    path = inside(folder, name)
    if path is None or path.stat().st_size > most:
        return None
    content = path.read_bytes()
    size = _size(content)
    return content if size and 0 < size[0] * size[1] <= MOST_PIXELS else None


def kind_of(content: bytes) -> str:
    """png or gif."""
    return "png" if content.startswith(_PNG) else "gif"


def enlargement(size: tuple[int, int]) -> int:
    """The factor by which a picture of (width, height) is shown."""
    return min(MOST_FACTOR, max(1, round(SHOWN / max(size))))


def _size(content: bytes) -> tuple[int, int] | None:
    """Width and height, by the header of a PNG or a GIF."""
    if content.startswith(_PNG) and content[12:16] == b"IHDR" and len(content) > 24:
        return struct.unpack(">II", content[16:24])
    if content.startswith(_GIF) and len(content) > 10:
        return struct.unpack("<HH", content[6:10])
    return None
