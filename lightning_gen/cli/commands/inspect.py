"""Describe a data set as models see it: images, shape, classes, warnings, and a picture of some images.

Examples:

  lightning-gen inspect data=mnist5k
  lightning-gen inspect data=folder data.path=my_images data.size=64
  lightning-gen inspect data=folder data.path=my_images data.size=64 data/augment=[flip,crop] out=my_images.png
"""

import re
from datetime import datetime
from itertools import chain, count
from pathlib import Path

import torch
from torch import Tensor

from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import instantiate
from lightning_gen.data.examples import Examples, examples, readable
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.inspection import Rows
from lightning_gen.errors import UserError
from lightning_gen.images import MODES, beside, enlarged, film, grid, save_png
from lightning_gen.sampling.captions import class_caption, row_captions, title
from lightning_gen.sampling.scatter_plot import are_points, scatter
from lightning_gen.utilities.printable import printable

COLUMNS = 6  # images of a class, and as many augmented ones
SIDE = 64  # pixels, to which smaller images are enlarged
MAX_FRAMES = 10  # of a sequence
POINTS = 2000  # of data that are points


def run(job: Job) -> None:
    """Print the facts of the data, and write a picture; a folder with damaged or differing images is not refused."""
    cfg = job.config
    out = None if cfg.out is None else _checked(Path(cfg.out).expanduser())
    data = instantiate(cfg.data)
    data.prepare_data()
    data.in_memory = False  # decode only a few images
    for name, value in [*data.inspect(), *_picture_row(data, out)]:
        print("\n".join(map(printable, f"{name + ':':<13}{value}".split("\n"))))


def _checked(out: Path) -> Path:
    if out.suffix.lower() != ".png":
        raise UserError(f"out={out}: the picture is a PNG file; give out={out.with_suffix('.png')}")
    if out.exists():
        raise UserError(f"out={out}: is there already, name another file")
    return out


def _picture_row(data: ImageData, out: Path | None) -> Rows:
    """Write the picture, if the data could be loaded, and tell where it is."""
    if not data.sources:
        return []
    if data.image_shape[-3] not in MODES and not are_points(data.image_shape):
        return [("picture", f"none, image files have 1, 3 or 4 channels, the data {data.image_shape[-3]}")]
    picture = picture_of(data)
    if picture is None:
        return []
    path = _new_file(data.name) if out is None else out
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(picture, path)
    except OSError as error:
        if out is None:
            return [("picture", f"none, {path.parent}: {error.strerror}; give out=FILE.png")]
        raise UserError(f"out={path}: {error.strerror}; name a file that can be written") from None
    return [("picture", str(path))]


def _new_file(name: str) -> Path:
    folder = Path("outputs", "inspect")
    stem = re.sub(r"[^\w.-]+", "_", name) + f"_{datetime.now():%Y-%m-%d_%H-%M-%S}"
    numbered = (folder / f"{stem}-{number}.png" for number in count(2))  # two commands within a second
    return next(path for path in chain([folder / f"{stem}.png"], numbered) if not path.exists())


def picture_of(data: ImageData) -> Tensor | None:
    """Training images as models get them, a row for each class, and beside them what training makes of them."""
    if are_points(data.image_shape):
        points = readable(data.sources["train"], range(POINTS), POINTS)
        return scatter([(torch.stack(points), 1.0)]) if points else None
    found = examples(data, 1 if len(data.image_shape) == 4 else COLUMNS)
    return None if found is None else _laid_out(found, data.class_names or [])


def _laid_out(found: Examples, names: list[str]) -> Tensor:
    parts = {"as models see them": found.images, "augmented, as in training": found.augmented}
    grids = {words: _rows(images) for words, images in parts.items() if images is not None}
    if found.classes is not None:
        captions = [class_caption(label, names) for label in found.classes]
        grids["as models see them"] = row_captions(grids["as models see them"], captions)
    return beside(title(picture, words) for words, picture in grids.items())


def _rows(images: Tensor) -> Tensor:
    """Images `(rows, columns, C, H, W)`, or the first frames of sequences `(rows, 1, T, C, H, W)`, enlarged."""
    images = enlarged(images, max(1, SIDE // max(images.shape[-2:])))
    return film(images[:, 0, :MAX_FRAMES]) if images.ndim == 6 else grid(images.flatten(0, 1), images.shape[1])
