"""Sequences from a folder of clips; its sub-folders `train`, `val` and `test` are splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.clips import Animation, Clip, FrameFiles, find_clips, open_clip
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
from lightning_gen.data.folder_scan import common_size, each, read_headers, split_folders
from lightning_gen.data.image_data import SPLITS, ImageData
from lightning_gen.data.inspection import Rows, counted, listed
from lightning_gen.data.pixels import doubts_of_files
from lightning_gen.data.source import StreamSource, first_of
from lightning_gen.data.splitting import check_fractions, missing_fractions, split_indices
from lightning_gen.errors import UserError

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
        parts = {split: list(part.values()) for split, part in clips.items()}
        indices = split_indices(len(parts["train"]), missing_fractions(parts, self.split), self.seed)
        parts |= {split: [parts["train"][index] for index in part] for split, part in indices.items()}
        sources = {split: self._source(parts[split], channels, size) for split in SPLITS}
        self.notes = self._pixel_notes([clip for part in parts.values() for clip in part])
        return sources

    def _pixel_notes(self, clips: list[Clip]) -> list[str]:
        """Lines about frames whose pixels may be meant otherwise."""
        frames = [path for clip in clips if isinstance(clip, FrameFiles) for path in clip.paths]
        animations = [clip.path for clip in clips if isinstance(clip, Animation)]
        fix = "move such files to folders of their own"
        notes = []
        if self.damaged:
            places = [f"{clip.path} from frame {start}" for clip, start in self.damaged]
            notes.append(f"left out, unreadable: {len(places):,} sequences: {listed(places, ', ')}")
        notes += doubts_of_files(self.root, frames, self.workers(), self.limits, fix)
        return notes + doubts_of_files(self.root, animations, self.workers(), self.limits, "")

    @cached_property
    def _found(self) -> tuple[dict[str, Clips], dict[Path, str]]:
        """The clips of each split that has its own folder, else all as `train`; and the problems of unusable clips."""
        folders = split_folders(self.root)
        clips, problems = {}, {}
        for split, folder in folders.items():
            files = find_clips(self.root, self.root / folder)
            if split == "train" and not files:
                where = self.root / folder
                raise UserError(
                    f"data.path={self.path}: there are no clips (folders of images, gif, mp4, ...) in {where}"
                )
            opened = each(lambda name, files=files: self._open(name, files[name]), list(files), self.workers())
            clips[split] = {name: clip for name, clip in opened.items() if not isinstance(clip, str)}
            problems |= {name: clip for name, clip in opened.items() if isinstance(clip, str)}
        return clips, problems

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
            return [*rows, ("problem", str(error))]

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
        split=[1.0, 0.0, 0.0],
        skip_unreadable=False,
        batch_size=1,
        seed=0,
        augment={},
        augment_share=1.0,
        binarize=False,
        in_memory=None,
        num_workers=None,
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
