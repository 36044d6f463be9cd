"""What the page of a checkpoint can ask of its model, by name: each reads bounded values and answers with pictures."""

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lightning_gen.capabilities import Completes, HasTemperature, Predicts, Reconstructs, Truncates
from lightning_gen.errors import UserError
from lightning_gen.images import enlarged, gif, mp4, png, to_uint8
from lightning_gen.report.pictures import enlargement
from lightning_gen.sampling.latent_space import StyleSpace
from lightning_gen.sampling.variety import Variety
from lightning_gen.view import drawing
from lightning_gen.view.shelf import Loaded
from lightning_gen.view.uploads import frames_of, image_of

LARGEST_SEED = 2**31 - 1
MOST_SAMPLES, MOST_FRAMES, MOST_STEPS = 100, 60, 500
REACH = 6.0  # standard deviations, of a latent that is given
SINGLE = 280  # pixels about which a single image is enlarged to

Answer = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The values in the address of a request, and its body."""

    values: Mapping[str, str]
    body: bytes

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number; UserError for anything else, or one that is out of bounds."""
        text = self.values.get(name, str(default))
        if not (text.isdecimal() and text.isascii() and len(text) < 12 and low <= int(text) <= high):
            raise UserError(f"{name}={text[:40]}: give a whole number from {low} to {high}")
        return int(text)

    @property
    def seed(self) -> int:
        return self.whole("seed", 0, 0, LARGEST_SEED)

    def label(self, loaded: Loaded) -> int | None:
        """The number of a class; None if none is chosen."""
        if self.values.get("label", "") == "" or loaded.model.num_classes is None:
            return None
        return self.whole("label", 0, 0, loaded.model.num_classes - 1)

    @property
    def variety(self) -> Variety:
        """Truncation and temperature; 1 is that of training."""
        given = {key: self.values.get(key, "") for key in Variety._fields}
        return Variety(
            **{key: self._number(key, text, 0.05, 1.0) for key, text in given.items() if text not in ("", "1")}
        )

    def _number(self, name: str, text: str, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise UserError(f"{name}={text[:40]}: give a number from {low} to {high}")
        return value

    def points(self, loaded: Loaded, *names: str) -> list[Tensor]:
        """Points `(d,)` of the latent space in the body, by name; UserError for anything else."""
        _, prior = drawing.space_and_prior(loaded)
        try:
            found = [torch.tensor(json.loads(self.body)[name], dtype=torch.float32) for name in names]
        except (ValueError, TypeError, LookupError, RecursionError, RuntimeError):
            found = []
        if not found or any(point.shape != prior.mean.shape or not point.isfinite().all() for point in found):
            raise UserError(f"{' and '.join(names)}: give lists of {len(prior.mean)} numbers")
        return [point.clamp(-REACH, REACH).to(prior.mean.device) for point in found]


def describe(loaded: Loaded, asked: Asked) -> Answer:
    """What the model can do; the page shows nothing else."""
    model, space = loaded.model, loaded.space
    still = len(model.image_shape) == 3
    return {
        "model": type(model).__name__,
        "shape": list(model.image_shape),
        "classes": _class_names(loaded),
        "images": model.images_seen,
        "formats": ["gif", *(["mp4"] if find_spec("av") else [])],
        "truncates": isinstance(model, Truncates),
        "tempers": isinstance(model, HasTemperature),
        "samples": model.generates,
        "latent": space and {"space": space.name, "order": loaded.order, "effects": loaded.effects},
        "interpolates": bool(space and still),
        "reconstructs": still and isinstance(model, Reconstructs),
        "projects": bool(space and still),
        "styles": isinstance(space, StyleSpace),
        "completes": still and isinstance(model, Completes),
        "predicts": {"context": model.context_frames} if isinstance(model, Predicts) and not still else None,
    }


def _class_names(loaded: Loaded) -> list[str] | None:
    count, names = loaded.model.num_classes, loaded.model.class_names
    return None if count is None else [names[n] if n < len(names) else str(n) for n in range(count)]


def samples(loaded: Loaded, asked: Asked) -> Answer:
    """A grid of samples."""
    n = asked.whole("n", 16, 1, MOST_SAMPLES)
    factor = _factor(loaded, math.ceil(math.sqrt(n)))
    return _shown(drawing.sample_grid(loaded, n, asked.seed, asked.label(loaded), asked.variety, factor), 1)


def _factor(loaded: Loaded, columns: int) -> int:
    """By which images are enlarged that stand in so many columns."""
    return enlargement((columns * loaded.model.image_shape[-1], loaded.model.image_shape[-2]))


def point(loaded: Loaded, asked: Asked) -> Answer:
    """A random point of the latent space and its image."""
    drawn = drawing.draw_point(loaded, asked.seed, asked.label(loaded), asked.variety)
    return _single(loaded, drawn, asked) | {"point": _plain(drawn)}


def decode(loaded: Loaded, asked: Asked) -> Answer:
    """The image of a point."""
    (given,) = asked.points(loaded, "point")
    return _single(loaded, given, asked)


def _single(loaded: Loaded, given: Tensor, asked: Asked) -> Answer:
    image = to_uint8(drawing.decode(loaded, given, asked.label(loaded)))
    return _shown(image, max(1, round(SINGLE / max(image.shape[-2:]))))


def interpolate(loaded: Loaded, asked: Asked) -> Answer:
    """A moving picture from one point to another and back, and its frames in a row."""
    start, end = asked.points(loaded, "start", "end")
    steps = asked.whole("steps", 24, 2, MOST_FRAMES)
    frames = drawing.path(loaded, start, end, asked.label(loaded), steps)
    return _shown(frames, max(1, round(SINGLE / max(frames.shape[-2:]))), asked)


def rows(loaded: Loaded, asked: Asked) -> Answer:
    """A row for each class."""
    columns = asked.whole("n", 8, 1, 16)
    with asked.variety.within(loaded.model):
        return _shown(drawing.class_rows(loaded, columns, asked.seed, _factor(loaded, columns)), 1)


def reconstruct(loaded: Loaded, asked: Asked) -> Answer:
    """An uploaded image, or some of the data, above their reconstructions."""
    given = image_of(asked.body, loaded.model.image_shape) if asked.body else loaded.given().images[:8]
    picture, found = drawing.reconstruct(loaded, given.to(loaded.model.device), asked.label(loaded))
    return _shown(picture) | ({"point": _plain(found)} if found is not None and asked.body else {})


def project(loaded: Loaded, asked: Asked) -> Answer:
    """An uploaded image above the nearest one that the model can make."""
    image = image_of(asked.body, loaded.model.image_shape).to(loaded.model.device)
    steps = asked.whole("steps", 100, 1, MOST_STEPS)
    picture, found, decibels = drawing.projected(loaded, image, asked.label(loaded), steps)
    return _shown(picture) | {"point": _plain(found), "note": f"peak signal-to-noise ratio {decibels:.1f} dB"}


def given(loaded: Loaded, asked: Asked) -> Answer:
    """An image of the data at the model's own size, to draw on."""
    images = loaded.given().images
    return _shown(to_uint8(images[asked.seed % len(images)]), 1)


def complete(loaded: Loaded, asked: Asked) -> Answer:
    """Completions of the upper rows of a drawn image."""
    height = loaded.model.image_shape[-2]
    row_count = asked.whole("rows", height // 2, 1, height - 1)
    image = image_of(asked.body, loaded.model.image_shape).to(loaded.model.device)
    with asked.variety.within(loaded.model):
        return _shown(drawing.completed(loaded, image, row_count, asked.label(loaded), asked.seed))


def predict(loaded: Loaded, asked: Asked) -> Answer:
    """Further frames of uploaded sequences, or of those of the data."""
    model = loaded.model
    frames = frames_of(asked.body, model.image_shape) if asked.body else loaded.given().images[:4]
    context = min(asked.whole("context", 5, 1, MOST_FRAMES), frames.shape[1])
    steps = asked.whole("steps", 10, 1, MOST_FRAMES)
    with asked.variety.within(model):
        still, moving = drawing.predicted(loaded, frames.to(model.device), context, steps, asked.seed)
    return _shown(to_uint8(moving), None, asked) | {"film": _shown(to_uint8(still), 1)}


ACTIONS: dict[str, Callable[[Loaded, Asked], Answer]] = {
    action.__name__: action
    for action in (describe, samples, point, decode, interpolate, rows, reconstruct, project, given, complete, predict)
}


def _plain(found: Tensor) -> list[float]:
    return [round(value, 4) for value in found.tolist()]


def _shown(picture: Tensor, factor: int | None = None, asked: Asked | None = None) -> Answer:
    """A picture `(C, H, W)` or a moving one `(T, C, H, W)`, enlarged by `factor`, as a file in text."""
    factor = factor or enlargement((picture.shape[-1], picture.shape[-2]))
    large = enlarged(picture, factor)
    kind = "png" if picture.ndim == 3 else (asked.values.get("format") or "gif") if asked else "gif"
    if kind not in ("png", "gif", "mp4"):
        raise UserError(f"format={kind[:20]}: give gif or mp4")
    content = png(large) if kind == "png" else gif(large.unbind()) if kind == "gif" else mp4(large.unbind())
    return {
        "kind": kind,
        "data": base64.b64encode(content).decode(),
        "width": large.shape[-1],
        "height": large.shape[-2],
    }
