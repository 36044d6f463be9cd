"""The folders of `evaluate samples=FOLDER`: samples of any program, and the real images to compare them with."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from omegaconf import DictConfig

from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import Folder
from lightning_gen.data.frames import clip_folder
from lightning_gen.data.pixels import frames_of
from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.data.whole_folder import image_folder, image_paths
from lightning_gen.errors import UserError
from lightning_gen.images import MODES
from lightning_gen.metrics.image_metric import MIN_SIZE
from lightning_gen.utilities.text_lists import listed

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData

KEYS = ("samples", "reference")
ALL = "all"  # the split of a reference that is not divided
# Fixes by keys of data, and what can be done about samples.
_FIXES = {
    r": remove it, or leave such files out with data\.skip_unreadable=true": ", remove it",
    r": set data\.size=\S+ \(data\.resize.*?\)": ": make them equal, or move those that are no samples",
    r"move them or set data\.labels=false": "move those that are no samples, or name one folder",
    r"give data\.range=\[lo,hi\]": "convert it to 8 bits",
    r": set (\d+) or less, or data\.skip_unreadable=true": r": remove it, or give data of \1 frames or less",
    r", or data\.skip_unreadable=true": "",
}


class Files(NamedTuple):
    """Samples of the shape of the real images; `resized` says from what, None if they had it already."""

    samples: "ImageData"
    data: "ImageData"
    split: str
    resized: str | None


def read_files(cfg: DictConfig) -> Files:
    """The images in `samples`, and those in `reference` or else of the chosen data, that they are compared with."""
    if cfg.reference:
        split = cfg.split or ALL
        shapes = {key: _shape(cfg, key) for key in KEYS}
        channels = max(shape[0] for shape in shapes.values())  # gray files are made RGB, if the others are
        data = _reference(cfg, split, channels)
    else:
        split = cfg.split or "test"
        data = build_data(cfg.data)
    if data.image_shape[-3] not in MODES:
        channels = data.image_shape[-3]
        raise UserError(f"samples={cfg.samples}: image files have 1, 3 or 4 channels, data={data.name} {channels}")
    with in_own_keys(cfg, data):
        samples, size = _clips(cfg, data) if len(data.image_shape) == 4 else _images(cfg, data)
    match_classes(samples, data)
    samples.notes = [_note(note, "samples", cfg.samples) for note in samples.notes]
    if cfg.reference:
        data.notes = [_note(note, "reference", cfg.reference) for note in data.notes]
    return Files(samples, data, split, _resized(size, data.image_shape[-2:]))


def _shape(cfg: DictConfig, key: str) -> tuple[int, ...]:
    """The shape of the images in the folder `key`, which are not decoded yet."""
    with in_own_keys(cfg):
        return image_folder(cfg[key]).load()["train"].image_shape


def _reference(cfg: DictConfig, split: str, channels: int) -> Folder:
    _check_no_clips(cfg)
    with in_own_keys(cfg):
        data = image_folder(cfg.reference, channels, split=None if split == ALL else split)
        data.setup()
    if split == ALL:
        data.sources[ALL], data.split_sizes[ALL] = data.sources["train"], data.split_sizes["train"]
    elif not data.split_sizes.get(split):
        raise UserError(f"split={split}: reference={cfg.reference} has no such folder; leave split out for all images")
    return data


def _check_no_clips(cfg: DictConfig) -> None:
    """UserError if both folders hold clips: their first frames alone would be compared."""
    frames = [frames_of(image_paths(image_folder(cfg[key]).load()["train"])) for key in KEYS]
    least = min(map(min, frames))
    if least > 1:
        raise UserError(
            f"reference={cfg.reference}: holds clips, as samples={cfg.samples} does: to compare clips, give in its "
            f"place data=frames data.path={cfg.reference} data.frames={least} data.split=[1,0,0] split=train"
        )


def _images(cfg: DictConfig, data: "ImageData") -> tuple["ImageData", tuple[int, ...]]:
    """The samples in the shape of images of `data`, and the (height, width) of their files."""
    size = _shape(cfg, "samples")[1:]
    if min(data.image_shape[-2:]) < MIN_SIZE and size != data.image_shape[1:]:
        raise UserError(f"samples={cfg.samples}: images can't be made as small as those of data={data.name}")
    samples = image_folder(cfg.samples, data.image_shape[0], data.image_shape[1:])
    samples.setup()
    return samples, size


def _clips(cfg: DictConfig, data: "ImageData") -> tuple["ImageData", tuple[int, ...]]:
    """The samples in the shape of sequences of `data`, and the (height, width) of their frames."""
    frames, channels, *size = data.image_shape
    found = clip_folder(cfg.samples, frames)
    if found.is_one_clip:
        raise UserError(
            f"samples={cfg.samples}: holds single images, and data={data.name} are sequences: give clips, as gif, "
            "webp, mp4, or a folder of frames for each"
        )
    shape = found.load()["train"].image_shape
    samples = clip_folder(cfg.samples, frames, channels, size)
    samples.setup()
    return samples, shape[-2:]


def match_classes(samples: "ImageData", data: "ImageData") -> None:
    """Number the classes of samples as those of `data`, by name or else by number; without labels if they differ."""
    names, known = samples.class_names, data.class_names
    if names is None or known is None or names == known:
        return
    by_number = [str(number) for number in range(len(known))]
    order = known if set(names) <= set(known) else by_number
    if strange := sorted(set(names) - set(order)):
        samples.notes.append(f"labels are left out: the class folder {strange[0]} is no class of {data.name}")
        samples.class_names = samples.num_classes = None
    else:
        samples.class_names, samples.num_classes = known, len(known)
        lacking = [name for name, given in zip(known, order, strict=True) if given not in names]
        if lacking:
            samples.notes.append(f"has other classes than the data: lacks {listed(lacking, ', ')}")
    source = samples.sources["train"]
    assert isinstance(source, TensorSource | StreamSource)
    assert source.labels is not None  # it has class names
    source.labels = None if strange else torch.tensor([order.index(name) for name in names])[source.labels]


def _resized(size: tuple[int, ...], to: tuple[int, ...]) -> str | None:
    if tuple(size) == tuple(to):
        return None
    (height, width), (new_height, new_width) = size, to
    cropped = ", the longer side cropped" if height * new_width != width * new_height else ""
    return f"samples from {height}x{width} to {new_height}x{new_width}, Lanczos, antialiased{cropped}"


@contextmanager
def in_own_keys(cfg: DictConfig, data: "ImageData | None" = None) -> Iterator[None]:
    """Within it, UserErrors about the folders of `samples` and `reference` name these keys and what can be done."""
    try:
        yield
    except UserError as error:
        text = str(error)
        if cfg.reference and data is not None:
            text = re.sub(rf"\bdata={re.escape(data.name)}\b", lambda _: f"reference={cfg.reference}", text)
        folders = {key: str(Path(str(cfg[key])).expanduser()) for key in KEYS if cfg[key]}
        for key in sorted(folders, key=lambda key: -len(folders[key])):  # one may be in the other
            if folders[key] in text:
                raise UserError(_explained(text, key, str(cfg[key]))) from None
        raise UserError(text) from None


def _note(note: str, key: str, path: str) -> str:
    """A line about the folder of a key, without keys of data, which are not those of the command."""
    if key == "samples":
        note = re.sub(r"set data\.range=\S+", "convert the files to 8 bits", note)
        return note.replace("data=frames reads all", "clips are compared with data=frames")
    instead = f"data=folder data.path={path} data.split=[1,0,0] split=train"
    return re.sub(r"data\.range=\S+", lambda key: f"{key[0]} with {instead} in place of reference", note)


def _explained(text: str, key: str, path: str) -> str:
    own = re.sub(r"^data\.path=", f"{key}=", text)
    if key == "reference" and re.search(r"\bdata\.\w+=", own):
        instead = f"data=folder data.path={path} data.split=[1,0,0] split=train"
        return f"{own}; keys of data can be set with {instead} in place of reference"
    own = re.sub(r"^data\.\w+=[^:]*: ", f"{key}={path}: ", own)
    for pattern, fix in _FIXES.items():
        own = re.sub(pattern, fix, own)
    return own
