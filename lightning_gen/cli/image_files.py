"""The image files that the key `images` of a command names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import closest, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_gen.data.decode import ImageFiles, Limits


def find_files(images: str) -> tuple[Path, list[Path]]:
    """The folder that names of files are relative to, and the files: one, or all in a folder, at any depth."""
    from lightning_gen.data.folder_scan import find_images

    root = Path(images).expanduser()
    if root.is_file():
        return root.parent, [root]
    if not root.is_dir():
        siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
        near = closest(root.name, siblings, limit=1)
        fix = f"did you mean {root.parent / near[0]}?" if near else "give an image file, or a folder of them"
        raise UserError(f"images={images}: no such file or folder; {fix}")
    paths = [root / path for path in find_images(root, root)]
    if not paths:
        raise UserError(f"images={images}: there are no images (png, jpg, webp, tiff, ...) in this folder")
    return root, paths


def check_resize(resize: str) -> None:
    """UserError unless there is such a method of `lightning_gen.data.decode.fit`."""
    from lightning_gen.data.decode import Resize

    if resize not in get_args(Resize):
        fix = did_you_mean(resize, get_args(Resize)) or f", choose one of {', '.join(get_args(Resize))}"
        raise UserError(f"resize={resize}: no such method{fix}")


def read_file(files: "ImageFiles", number: int) -> "Tensor | str":
    """A file as uint8 `(C, H, W)`, or why it can't be read, in words that name no key of data."""
    try:
        return files[number]
    except UserError as error:
        reason, _, _ = str(error.__cause__ or "damaged").partition(" <_io.")  # Python's name of the open file
        return reason.replace("give data.range=[lo,hi]", "convert it to 8 bits")


def tell_doubts(images: str, paths: Sequence[Path], limits: "Limits | None" = None) -> None:
    """Print, on stderr, what in the files may be meant otherwise than it is read."""
    from lightning_gen.data.pixels import doubts_of_files

    for doubt in doubts_of_files(Path(), list(paths), num_threads=1, limits=limits):
        print(f"images={images}: {doubt.partition('; ')[0]}", file=sys.stderr)
