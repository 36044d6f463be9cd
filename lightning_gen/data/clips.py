"""Clips: folders of frames, animations and videos, with random access to frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from lightning_gen.data.decode import UNREADABLE, header, opened
from lightning_gen.data.folder_scan import SUFFIXES, Header, natural
from lightning_gen.errors import missing_package

VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v"}
ANIMATIONS = {".gif", ".apng"}
MAYBE_ANIMATIONS = {".png", ".webp", ".tif", ".tiff", ".avif"}


class Clip(Protocol):
    """Frames in order; `kind` is shown to users, `header` is that of the first frame. Reading raises `UNREADABLE`."""

    kind: str
    path: Path
    header: Header

    def __len__(self) -> int: ...

    def pictures(self, numbers: range) -> Iterator[Image.Image]:
        """The frames with these numbers; use each before requesting the next."""
        ...


@dataclass
class FrameFiles:
    """A folder of images, each a frame."""

    kind = "folder"
    paths: list[Path]

    def __post_init__(self) -> None:
        self.path = self.paths[0].parent
        with opened(self.paths[0]) as image:
            self.header = Header(*header(image))

    def __len__(self) -> int:
        return len(self.paths)

    def pictures(self, numbers: range) -> Iterator[Image.Image]:
        for number in numbers:
            with opened(self.paths[number]) as image:
                yield image


@dataclass
class Animation:
    """A GIF, WebP, APNG or AVIF file, or a TIFF file of several pages."""

    kind = "animation"
    path: Path

    def __post_init__(self) -> None:
        with opened(self.path) as image:
            self.header = Header(*header(image))
            # Programs that don't know APNG show an image that is no frame of it.
            self.first = int(image.info.get("default_image", False))
            self.length = getattr(image, "n_frames", 1) - self.first

    def __len__(self) -> int:
        return self.length

    def pictures(self, numbers: range) -> Iterator[Image.Image]:
        with opened(self.path) as image:
            for number in numbers:
                image.seek(self.first + number)
                yield image


@dataclass
class Video:
    """A video file, whose frames are located by their times."""

    kind = "video"
    path: Path

    def __post_init__(self) -> None:
        av = _av(self.path)
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                gray = (stream.codec_context.pix_fmt or "").startswith("gray")
                times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            with av.open(str(self.path)) as container:
                first = next(container.decode(video=0), None)
                size = (stream.height, stream.width)
                self.header = Header(size[::-1] if _turn(first) % 180 else size, "L" if gray else "RGB")
        except (av.FFmpegError, IndexError) as error:
            raise OSError(str(error)) from error
        self.times = np.sort(np.array(times, np.int64))

    def __len__(self) -> int:
        return len(self.times)

    def pictures(self, numbers: range) -> Iterator[Image.Image]:
        av = _av(self.path)
        first = int(self.times[numbers[0]])
        number = numbers[0]
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                container.seek(first, stream=stream)  # to the key frame before it
                for frame in container.decode(stream):
                    if frame.pts is not None and frame.pts < first:
                        continue
                    if number in numbers:
                        yield frame.to_image().rotate(_turn(frame), expand=True)
                    if number >= numbers[-1]:
                        return
                    number += 1
        except av.FFmpegError as error:
            raise OSError(str(error)) from error
        raise OSError(f"it ends before frame {numbers[-1] + 1} of {len(self)}")


def _turn(frame: Any) -> int:
    """The degrees, counterclockwise, by which players turn a frame, as telephones ask for; a multiple of 90."""
    return round(getattr(frame, "rotation", 0) / 90) * 90


def clips_of(root: Path, files: list[Path]) -> dict[Path, list[Path]]:
    """The clips that `files`, relative to `root`, make up, in natural order.

    A video or an animation is a clip by its own name, all other images of a folder are one clip by the folder's name.
    """
    folders: dict[Path, list[Path]] = {}
    for file in sorted(filter(is_clip_file, files), key=natural):
        folders.setdefault(file.parent, []).append(file)
    found: dict[Path, list[Path]] = {}
    for folder, members in folders.items():
        single = VIDEOS | ANIMATIONS | {suffix for suffix in MAYBE_ANIMATIONS if _animated(root, members, suffix)}
        found |= {file: [file] for file in members if file.suffix.lower() in single}
        frames = [file for file in members if file.suffix.lower() not in single]
        if frames:
            found[folder] = frames
    names: list[Path] = sorted(found, key=natural)
    return {name: found[name] for name in names}


def is_clip_file(path: Path) -> bool:
    """Whether it is a frame or a clip, by its suffix."""
    return path.suffix.lower() in SUFFIXES | VIDEOS | ANIMATIONS


def open_clip(root: Path, name: Path, files: list[Path]) -> Clip:
    """A clip of `clips_of`; raises one of `UNREADABLE`."""
    if files != [name]:
        return FrameFiles([root / file for file in files])
    return (Video if name.suffix.lower() in VIDEOS else Animation)(root / name)


def _animated(root: Path, files: list[Path], suffix: str) -> bool:
    """Whether the first file with that suffix is animated: a folder may hold many frames, so one is checked."""
    file = next((file for file in files if file.suffix.lower() == suffix), None)
    if file is None:
        return False
    try:
        with Image.open(root / file) as image:
            return getattr(image, "is_animated", False)
    except UNREADABLE:
        return False  # it is reported when it is read


def _av(path: Path) -> Any:
    try:
        import av
    except ImportError as error:
        raise missing_package(f"{path} is a video", "av", "video") from error
    return av
