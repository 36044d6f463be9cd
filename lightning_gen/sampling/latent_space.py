"""The spaces of a generator's latents: z, which the prior draws from, and w, the styles that StyleGAN maps them to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gen.capabilities import Encodes, HasLatent, HasStyle
from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


class LatentSpace:
    """z: latents `(n, d)` of the prior; paths keep to spheres."""

    name = "z"

    def __init__(self, model: "ImageGenerator"):
        self.model = model

    def draw(self, n: int, labels: Tensor | None) -> Tensor:
        """Draw `n` points."""
        return self.model.latent(n)

    def decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """Points to images in [-1, 1]."""
        return self.model.decode(points, labels)

    def between(self, start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
        """The point at `fraction` of the way, one for all or one for each `(n, 1)`."""
        return slerp(start, end, fraction)

    def encode(self, images: Tensor, labels: Tensor | None) -> Tensor | None:
        """The points that the model itself finds for images; None if it doesn't look for any."""
        return self.model.encode(images, labels) if isinstance(self.model, Encodes) else None


class StyleSpace(LatentSpace):
    """w: styles `(n, style_dim)`, labels included; it is shaped by training, so paths are straight."""

    name = "w"

    def draw(self, n: int, labels: Tensor | None) -> Tensor:
        """Draw `n` points; of labels drawn at random where none are given."""
        labels = self.model.draw_labels(n) if labels is None else labels
        return self.model.style(self.model.latent(n), labels)

    def decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """Points to images; the labels are in the points already."""
        return self.model.decode_style(points)

    def between(self, start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
        """The point at `fraction` of the way, one for all or one for each `(n, 1)`."""
        return torch.lerp(start, end, fraction)

    def encode(self, images: Tensor, labels: Tensor | None) -> None:
        """Nothing: encoders find latents, not styles."""
        return None


SPACES = {"z": LatentSpace, "w": StyleSpace}


def space_of(model: "ImageGenerator", name: str, checkpoint: Path) -> LatentSpace:
    """The space called `name` of a model; `auto` is w where there is one. UserError if there is not."""
    names = ["auto", *SPACES]
    if name not in names:
        raise UserError(f"space={name}: no such space{did_you_mean(str(name), names) or '; choose auto, z or w'}")
    if not isinstance(model, HasLatent):
        lacking = _lacking(model, "latent", "decode")
        raise UserError(f"checkpoint={checkpoint}: {lacking}, so there are no latents; use sample and evaluate")
    if name == "w" and not isinstance(model, HasStyle):
        raise UserError(f"space=w: {_lacking(model, 'style', 'decode_style')}; give space=z")
    if name == "auto":
        name = "w" if isinstance(model, HasStyle) else "z"
    return SPACES[name](model)


def _lacking(model: "ImageGenerator", *methods: str) -> str:
    names = " and ".join(f"`{method}`" for method in methods if not hasattr(model, method))
    return f"{type(model).__name__} has no {names}"


def walk(space: LatentSpace, n: int, labels: Tensor | None, *, stops: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield the frames of a loop, uint8 `(n, C, H, W)`: `n` paths with `stops` latents and `steps` frames from each."""
    seed_all("interpolation", seed)
    labels = None if labels is None else labels.to(space.model.device)
    points = space.draw(n * stops, None if labels is None else labels.repeat(stops)).unflatten(0, (stops, n))
    for start, end in zip(points, points.roll(-1, 0), strict=True):
        for step in range(steps):
            seed_all("interpolation", seed, "noise")  # what else a decoder draws stays still
            yield to_uint8(space.decode(space.between(start, end, step / steps), labels)).cpu()


def slerp(start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
    """Spherical interpolation of latents `(B, d)`, https://arxiv.org/abs/1609.04468, section 2.1.

    Normal latents lie near a sphere: a straight line would cross its empty inside. Lengths go linearly.
    """
    lengths = start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True)
    a, b = (latent / length.clamp(min=1e-12) for latent, length in zip((start, end), lengths, strict=True))
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    # parallel latents have no arc: the line is it
    on_arc = (((1 - fraction) * angle).sin() * a + (fraction * angle).sin() * b) / angle.sin()
    direction = torch.where(angle.sin() > 1e-4, on_arc, torch.lerp(a, b, fraction))
    return direction * torch.lerp(*lengths, fraction)
