"""The spaces of a generator's latents: z, the support of the prior, and w, the styles that StyleGAN maps them to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from lightning_gen.capabilities import Encodes, HasLatent, HasStyle
from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


@runtime_checkable
class LatentModel(HasLatent, Protocol):
    """An `ImageGenerator` with latents."""

    @property
    def device(self) -> torch.device: ...

    def draw_labels(self, n: int) -> Tensor | None: ...

    def requires_grad_(self, requires_grad: bool) -> object: ...


@runtime_checkable
class StyleModel(LatentModel, HasStyle, Protocol):
    """An `ImageGenerator` with latents and styles."""


class LatentSpace:
    """z: latents `(n, d)` of the prior; paths keep to spheres."""

    name = "z"

    def __init__(self, model: LatentModel):
        self.model = model

    def sample(self, n: int, labels: Tensor | None) -> Tensor:
        """Sample `n` points."""
        return self.model.latent(n)

    def decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """Map points to images in [-1, 1]."""
        return self.model.decode(points, labels)

    def between(self, start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
        """The point at `fraction` of the path, one for all or one for each `(n, 1)`."""
        return slerp(start, end, fraction)

    def encode(self, images: Tensor, labels: Tensor | None) -> Tensor | None:
        """The points that the model's encoder gives for images; None without an encoder."""
        return self.model.encode(images, labels) if isinstance(self.model, Encodes) else None


class StyleSpace(LatentSpace):
    """w: styles `(n, style_dim)`, labels included; training has shaped the space, so paths are straight."""

    name = "w"

    def __init__(self, model: StyleModel):
        super().__init__(model)
        self.styles = model

    def sample(self, n: int, labels: Tensor | None) -> Tensor:
        """Sample `n` points, with random labels if none are given."""
        labels = self.styles.draw_labels(n) if labels is None else labels
        return self.styles.style(self.styles.latent(n), labels)

    def decode(self, points: Tensor, labels: Tensor | None) -> Tensor:
        """Map points, which include the labels, to images in [-1, 1]."""
        return self.styles.decode_style(points)

    def between(self, start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
        """The point at `fraction` of the path, one for all or one for each `(n, 1)`."""
        return torch.lerp(start, end, fraction)

    def encode(self, images: Tensor, labels: Tensor | None) -> None:
        """None: encoders give latents, not styles."""
        return None


SPACES = {"z": LatentSpace, "w": StyleSpace}


def space_of(model: "ImageGenerator", name: str, checkpoint: Path) -> LatentSpace:
    """The space called `name` of a model; `auto` is w if the model has styles. UserError for a space it lacks."""
    names = ["auto", *SPACES]
    if name not in names:
        raise UserError(f"space={name}: no such space{did_you_mean(str(name), names) or '; choose auto, z or w'}")
    # pyrefly: ignore[unsafe-overlap]  # torch types every attribute that a module lacks as Tensor | Module
    if not isinstance(model, LatentModel):
        lacking = _lacking(model, "latent", "decode")
        raise UserError(f"checkpoint={checkpoint}: {lacking}, so there are no latents; use sample and evaluate")
    if name != "z" and isinstance(model, StyleModel):
        return StyleSpace(model)
    if name == "w":
        raise UserError(f"space=w: {_lacking(model, 'style', 'decode_style')}; give space=z")
    return LatentSpace(model)


def _lacking(model: object, *methods: str) -> str:
    names = " and ".join(f"`{method}`" for method in methods if not hasattr(model, method))
    return f"{type(model).__name__} has no {names}"


def walk(space: LatentSpace, n: int, labels: Tensor | None, *, stops: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Yield the frames of a loop, uint8 `(n, C, H, W)`: `n` paths through `stops` latents, `steps` frames for each."""
    seed_all("interpolation", seed)
    labels = None if labels is None else labels.to(space.model.device)
    points = space.sample(n * stops, None if labels is None else labels.repeat(stops)).unflatten(0, (stops, n))
    for start, end in zip(points, points.roll(-1, 0), strict=True):
        for step in range(steps):
            seed_all("interpolation", seed, "noise")  # the decoder's own noise is the same for all frames
            yield to_uint8(space.decode(space.between(start, end, step / steps), labels)).cpu()


def slerp(start: Tensor, end: Tensor, fraction: float | Tensor) -> Tensor:
    """Spherical interpolation of latents `(B, d)`, https://arxiv.org/abs/1609.04468, section 2.1.

    Normal latents lie near a sphere, which a straight line would leave. Norms are interpolated linearly.
    """
    # (sin((1 - t) angle) a + sin(t angle) b) / sin(angle), for unit vectors a and b
    lengths = start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True)
    a, b = (latent / length.clamp(min=1e-12) for latent, length in zip((start, end), lengths, strict=True))
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    on_arc = (((1 - fraction) * angle).sin() * a + (fraction * angle).sin() * b) / angle.sin()
    # between parallel latents the arc is the line
    direction = torch.where(angle.sin() > 1e-4, on_arc, torch.lerp(a, b, fraction))
    return direction * torch.lerp(*lengths, fraction)
