"""A map of the latents in two dimensions: where the images of each class lie."""

import colorsys
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.callbacks.pictures import Pictures
from lightning_gen.callbacks.traversals import Autoencodes, used
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.sampling.captions import class_caption, font_for
from lightning_gen.trainer import ImageTrainer

SIDE, MARGIN, LINE, DOT = 480, 8, 18, 2  # pixels
FONT = 14
MOST_NAMED = 24  # classes in the legend
OUTSIDE = 0.005  # share of the points at each end of an axis that may lie on the border
BACKGROUND, INK, PLAIN = (255, 255, 255), (0, 0, 0), (40, 90, 160)

Color = tuple[int, ...]


class LatentMap(Pictures):
    """A dot for the posterior mean of each of `n` validation images, in the color of its class.

    The axes are the two principal components (`pca`), or the two latents that are used most (`used`).
    """

    def __init__(
        self,
        folder: str,
        every_images: PositiveInt,
        n: PositiveInt,
        axes: Literal["pca", "used"],
        every_minutes: PositiveFloat | None = None,
    ):
        super().__init__(folder, every_images, n, every_minutes)
        self.axes = axes

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The map; empty of a model that does not encode images, or to fewer than two latents."""
        if not isinstance(model, Autoencodes):
            return {}
        batches = list(trainer.datamodule.batches("val", model.device, limit=self.n))
        latents = torch.cat([model.encode(*batch) for batch in batches]).float()
        if latents.shape[1] < 2 or len(latents) < 2 or not latents.isfinite().all():
            return {}
        if self.axes == "pca":
            points, caption = principal_components(latents)
        else:
            name, uses = used(model, batches)
            first, second = uses.topk(2).indices.tolist()
            points = latents[:, [first, second]]
            caption = f"latents {first} and {second}, {name} {uses[first]:.2f} and {uses[second]:.2f}"
        labels = [batch.labels for batch in batches if batch.labels is not None]
        classes = torch.cat(labels).tolist() if labels else None
        return {"latent_map": draw_map(points.cpu(), classes, trainer.datamodule.class_names or [], caption)}


def principal_components(latents: Tensor) -> tuple[Tensor, str]:
    """Latents `(N, d)` along the two directions of largest variance, `(N, 2)`, and what the axes are."""
    centered = latents - latents.mean(0)
    _, values, directions = torch.linalg.svd(centered, full_matrices=False)
    shares = values.square() / values.square().sum().clamp(min=1e-12)
    return centered @ directions[:2].T, f"PCA: {shares[0]:.0%} and {shares[1]:.0%} of the variance"


def draw_map(points: Tensor, classes: Sequence[int] | None, names: Sequence[str], caption: str) -> Tensor:
    """A picture `(3, H, W)` in [-1, 1] of points `(N, 2)`, with a legend of their classes, if there are any."""
    legend = [class_caption(number, names) for number in range(len(names))][:MOST_NAMED] if classes else []
    widest = max((font_for(name, FONT).getlength(name) for name in legend), default=0)
    width = SIDE + 2 * MARGIN + (int(widest) + LINE + MARGIN if legend else 0)
    picture = Image.new("RGB", (width, max(SIDE, LINE * len(legend)) + LINE + 3 * MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), caption, INK, font_for(caption, FONT))
    top = LINE + 2 * MARGIN
    draw.rectangle((MARGIN, top, MARGIN + SIDE, top + SIDE), outline="lightgray")
    colors = _colors(len(names)) if classes else [PLAIN]
    for (x, y), number in zip(_placed(points).tolist(), classes or [0] * len(points), strict=True):
        center = MARGIN + DOT + x * (SIDE - 2 * DOT), top + DOT + (1 - y) * (SIDE - 2 * DOT)
        draw.ellipse([c + d for d in (-DOT, DOT) for c in center], colors[number])
    for row, name in enumerate(legend):
        left, place = SIDE + 2 * MARGIN, top + row * LINE
        draw.rectangle((left, place + 4, left + 10, place + 14), colors[row])
        draw.text((left + LINE, place), name, INK, font_for(name, FONT))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1


def _placed(points: Tensor) -> Tensor:
    """Points `(N, 2)` in the unit square, with the same scale on both axes."""
    low, high = points.quantile(torch.tensor([OUTSIDE, 1 - OUTSIDE]), 0)
    scale = (high - low).max().clamp(min=1e-12)
    return ((points - (low + high) / 2) / scale + 0.5).clamp(0, 1)


def _colors(count: int) -> list[Color]:
    """Hues of equal distance; every other one is darker."""
    shades = [colorsys.hsv_to_rgb(n / max(1, count), 0.85, 0.9 if n % 2 else 0.65) for n in range(count)]
    return [tuple(round(255 * value) for value in shade) for shade in shades]
