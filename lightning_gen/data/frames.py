"""Sequences from a folder of clips; its sub-folders `train`, `val` and `test` are splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.clips import Animation, Clip, FrameFiles, clips_of, is_clip_file, open_clip
from lightning_gen.data.decode import (
    UNREADABLE,
    Limits,
    Resize,
    check_format,
    check_range,
    is_gray,
    pair,
    to_tensor,
    unreadable,
)
from lightning_gen.data.folder_scan import (
    FEW,
    Contents,
    Parts,
    common_size,
    each,
    find,
    named_as_splits,
    read_headers,
    shown,
)
from lightning_gen.data.image_data import SPLITS, ImageData
from lightning_gen.data.inspection import Rows, counted
from lightning_gen.data.pixels import doubts_of_files
from lightning_gen.data.source import StreamSource, first_of
from lightning_gen.data.splitting import Pool, SplitBy, check_fractions, digest
from lightning_gen.data.whole_folder import AS_THEY_ARE
from lightning_gen.errors import UserError
from lightning_gen.utilities.text_lists import listed

Clips = dict[Path, Clip]  # by path relative to the root


@dataclass(kw_only=True, eq=False, repr=False)
class Frames(ImageData):
    """Sequences of `frames` frames, every `stride`-th, of the clips under `path`, converted to `channels` x `size`.

    A clip is cut into consecutive sequences, all in one split. The other keys are those of `folder`;
    `skip_unreadable` skips clips that are too short, too.
    """

    path: str
    frames: PositiveInt
    stride: PositiveInt
    channels: PositiveInt | None
    size: int | list[int] | None
    resize: Resize
    split: list[float]
    skip_unreadable: bool
    split_by: SplitBy = "number"  # as of `folder`
    range: list[float] | None = None  # as of `folder`

    def __post_init__(self) -> None:
        super().__post_init__()
        check_format(self.channels, self.size, self.resize)
        check_fractions(self.split)
        self.limits = check_range(self.range)
        self.damaged: list[tuple[Clip, int]] = []  # sequences that are left out, by their first frame
        self.root = Path(self.path).expanduser()
        self.name = self.root.resolve().name

    def load(self) -> Mapping[str, StreamSource]:
        clips, problems = self._found
        if problems and not self.skip_unreadable:
            raise UserError(first_of(list(problems.values())))
        if not clips["train"]:
            raise UserError(f"data.path={self.path}: none of the {len(problems)} clips can be used")
        channels, size = self._format({name: clip for part in clips.values() for name, clip in part.items()})
        names = {split: list(part) for split, part in clips.items()}
        self.pool = Pool(
            [name.as_posix() for name in names["train"]], list(names), self.split, self.seed, self.split_by
        )
        names = self.pool.draw(names)
        every = {name: clip for part in clips.values() for name, clip in part.items()}
        sources = {split: self._source([every[name] for name in names[split]], channels, size) for split in SPLITS}
        if not len(sources["train"]):
            raise UserError(f"data.path={self.path}: no clip is for training, {self.fix_for('train')}")
        self.notes = self._notes(every, problems) + self._pixel_notes(list(every.values()))
        self.digests = {split: digest([name.as_posix() for name in part]) for split, part in names.items()}
        return sources

    @cached_property
    def _contents(self) -> tuple[Contents, Parts]:
        """What there is, and the files of clips of each split that has its own folder, else all as `train`."""
        kind, by_number = "clips (folders of images, gif, mp4, ...)", self.split_by == "number"
        return find(self.root, f"data.path={self.path}", is_clip_file, kind, by_number, self.skip_unreadable)

    def _pixel_notes(self, clips: list[Clip]) -> list[str]:
        """Lines about frames whose pixels may be meant otherwise."""
        frames = [path for clip in clips if isinstance(clip, FrameFiles) for path in clip.paths]
        animations = [clip.path for clip in clips if isinstance(clip, Animation)]
        fix = "move such files to folders of their own"
        notes = []
        if self.damaged:
            places = [f"{shown(clip.path)} from frame {start}" for clip, start in self.damaged]
            notes.append(f"left out, unreadable: {len(places):,} sequences: {listed(places, ', ')}")
        notes += doubts_of_files(self.root, frames, self.workers(), self.limits, fix)
        return notes + doubts_of_files(self.root, animations, self.workers(), self.limits, "")

    @cached_property
    def _found(self) -> tuple[dict[str, Clips], dict[Path, str]]:
        """The clips of each split that has its own folder, else all as `train`; and the problems of unusable clips."""
        contents, parts = self._contents
        contents.check(self.root, self.skip_unreadable)
        clips, problems = {}, {}
        for split, paths in parts.files.items():
            files = clips_of(self.root, paths)
            opened = each(lambda name, files=files: self._open(name, files[name]), list(files), self.workers())
            clips[split] = {name: clip for name, clip in opened.items() if not isinstance(clip, str)}
            problems |= {name: clip for name, clip in opened.items() if isinstance(clip, str)}
        return clips, problems

    def _notes(self, clips: Clips, problems: dict[Path, str]) -> list[str]:
        contents, parts = self._contents
        used = sum(len(clip.paths) if isinstance(clip, FrameFiles) else 1 for clip in clips.values())
        notes = contents.notes(used) + self.pool.notes()
        frames, read = sum(map(len, clips.values())), sum(len(clip) // self._span for clip in clips.values())
        if frames > read * self._span:
            rest = f"{frames - read * self._span:,} of {frames:,} frames"
            notes.append(f"left out, {rest} at the ends of clips, after sequences that span {self._span}")
        if problems:
            notes.append(f"left out, unusable clips: {listed([shown(name) for name in problems], ', ', FEW)}")
        tops = [] if parts.depth else sorted(named_as_splits(contents.top_folders))
        return [*notes, f"not read as splits: {', '.join(tops)}"] if tops else notes

    def fix_for(self, split: str) -> str:
        return self.pool.fix_for(split)

    def _open(self, name: Path, files: list[Path]) -> Clip | str:
        """The clip, or the reason why it cannot be used."""
        try:
            clip = open_clip(self.root, name, files)
        except UNREADABLE as error:
            return unreadable(self.root / name, error)
        if len(clip) >= self._span:
            return clip
        fix = f"set {(len(clip) - 1) // self.stride + 1} or less" if len(clip) else "remove it"
        stride = f" (data.stride={self.stride})" if self.stride > 1 else ""
        frames = f"{len(clip)} frames, fewer than {self._span}{stride}"
        return f"data.frames={self.frames}: {self.root / name} has {frames}: {fix}, or data.skip_unreadable=true"

    @property
    def _span(self) -> int:
        """The number of frames of a clip that a sequence spans."""
        return (self.frames - 1) * self.stride + 1

    def _format(self, clips: Clips) -> tuple[int, tuple[int, int]]:
        """The channels and (height, width) of all frames, from the config or else from the clips."""
        gray = all(is_gray(clip.header.mode) for clip in clips.values())
        channels = self.channels or (1 if gray else 3)
        if self.size is not None:
            return channels, pair(self.size)
        frames = [path.relative_to(self.root) for c in clips.values() if isinstance(c, FrameFiles) for path in c.paths]
        headers, _ = read_headers(self.root, frames, self.workers())
        return channels, common_size(self.path, {name: clip.header for name, clip in clips.items()} | headers)

    def _source(self, clips: list[Clip], channels: int, size: tuple[int, int]) -> StreamSource:
        starts = [(clip, start) for clip in clips for start in range(0, len(clip) - self._span + 1, self._span)]
        resize = None if self.size is None else self.resize
        windows = Windows(starts, self.frames, self.stride, channels, size, resize, self.limits)
        if self.skip_unreadable:
            readable = each(windows.is_readable, list(range(len(starts))), self.workers())
            self.damaged += [start for number, start in enumerate(starts) if not readable[number]]
            windows.starts = [start for number, start in enumerate(starts) if readable[number]]
        return StreamSource(windows, None, self.workers())

    def inspect(self) -> Rows:
        """Facts of the clips; then, if they can be loaded as configured, of the data as models see them."""
        parts, problems = self._found
        clips = [clip for part in parts.values() for clip in part.values()]
        rows: Rows = [
            ("path", str(self.root)),
            ("clips", counted(clip.kind for clip in clips)),
            ("frames", f"{sum(map(len, clips)):,}"),
            ("sizes", counted("{}x{}".format(*clip.header.size) for clip in clips)),
            ("unusable", listed(list(problems.values())) or "none"),
        ]
        try:
            return rows + super().inspect()
        except UserError as error:
            return [*rows, ("notes", listed(self._contents[0].notes_left_out()) or "none"), ("problem", str(error))]

    @property
    def is_one_clip(self) -> bool:
        """Whether the folder holds nothing but images, which are then one clip."""
        clips, problems = self._found
        return [*clips["train"], *problems] == [Path()]


def clip_folder(path: str, frames: int, channels: int | None = None, size: Sequence[int] | None = None) -> Frames:
    """The clips under `path` as they are, all as `train`, in sequences of `frames` frames."""
    return Frames(
        path=str(path),
        frames=frames,
        stride=1,
        channels=channels,
        size=None if size is None else list(size),
        resize="crop",
        **AS_THEY_ARE,
    )


class Windows:
    """A map-style data set of the sequences, uint8 `(frames, channels, *size)`, that begin at `starts` of clips."""

    def __init__(
        self,
        starts: list[tuple[Clip, int]],
        frames: int,
        stride: int,
        channels: int,
        size: tuple[int, int],
        resize: Resize | None,
        limits: Limits | None = None,
    ) -> None:
        self.starts = starts
        self.frames = frames
        self.stride = stride
        self.channels = channels
        self.size = size
        self.resize = resize
        self.limits = limits

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.frames, self.channels, *self.size)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Tensor:
        clip, start = self.starts[index]
        numbers = range(start, start + self.frames * self.stride, self.stride)
        try:
            pictures = clip.pictures(numbers)
            return torch.stack([self._frame(picture) for picture in pictures])
        except UNREADABLE as error:
            raise UserError(unreadable(clip.path, error)) from error

    def _frame(self, picture: Image.Image) -> Tensor:
        return to_tensor(picture, self.channels, self.size, self.resize, self.limits)

    def is_readable(self, index: int) -> bool:
        try:
            self[index]
        except UserError:
            return False
        return True
