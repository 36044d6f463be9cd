"""Latents of given images by gradient descent, after https://arxiv.org/abs/1912.04958, appendix D."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.randomness import generator, seed_all
from lightning_gen.sampling.latent_space import LatentSpace
from lightning_gen.utilities.progress import progress

DRAWS = 4096  # points that tell where the prior is
NOISELESS = 0.75  # the share of the steps after which no noise is added
SCALES = (1, 2, 4, 8)  # pixels whose mean is compared


@dataclass(kw_only=True)
class Descent:
    """How latents are sought; `step_size` and `noise` count standard deviations of the latents."""

    starts: int
    steps: int
    step_size: float
    noise: float
    prior_weight: float
    batch_size: int
    seed: int


class Prior:
    """Where points of a space lie, by mean and standard deviation of each coordinate: descent goes in such units."""

    def __init__(self, space: LatentSpace, seed: int):
        seed_all("project", seed, "prior")
        points = space.draw(DRAWS, None)
        self.mean, self.std = points.mean(0), points.std(0).clamp(min=1e-4)

    def inward(self, points: Tensor) -> Tensor:
        return (points - self.mean) / self.std

    def outward(self, units: Tensor) -> Tensor:
        return self.mean + units * self.std

    def penalty(self, units: Tensor, ball: bool) -> Tensor:
        """`(B,)`: how far from the sphere on which a prior of many dimensions lies, or with `ball` how far outside."""
        excess = units.square().mean(1).clamp(min=1e-12).sqrt() - 1
        return (excess.clamp(min=0) if ball else excess).square()


def project(space: LatentSpace, targets: Tensor, labels: Tensor | None, descent: Descent) -> tuple[Tensor, Tensor]:
    """Points `(n, d)` of `space` that decode to about `targets` `(n, C, H, W)`, and the images they decode to.

    A model with an encoder starts from what it says; for others the best of several random starts counts.
    """
    space.model.requires_grad_(False)
    with torch.no_grad():
        prior = Prior(space, descent.seed)
        encoded = space.encode(targets, labels)
    if encoded is not None and encoded.shape[1:] != prior.mean.shape:
        encoded = None  # an encoder to something else than what the prior draws
    at_once = max(1, descent.batch_size // (1 if encoded is not None else descent.starts))
    found = []
    with progress("projections", len(targets)) as advance:
        for first in range(0, len(targets), at_once):
            part = slice(first, first + at_once)
            given = None if labels is None else labels[part]
            start = (
                _random_starts(space, first, len(targets[part]), given, descent) if encoded is None else encoded[part]
            )
            found.append(_descend(space, prior, start, targets[part], given, descent, first, encoded is not None))
            advance(len(targets[part]))
    points, images = (torch.cat(parts) for parts in zip(*found, strict=True))
    return points, images


def _random_starts(space: LatentSpace, first: int, n: int, labels: Tensor | None, descent: Descent) -> Tensor:
    """`(n * starts, d)`; those of an image depend on its number, not on the batch it is in."""
    starts = []
    for number in range(n):
        seed_all("project", descent.seed, "start", first + number)
        with torch.no_grad():
            given = None if labels is None else labels[number].expand(descent.starts)
            starts.append(space.draw(descent.starts, given))
    return torch.cat(starts)


def _descend(
    space: LatentSpace,
    prior: Prior,
    start: Tensor,
    targets: Tensor,
    labels: Tensor | None,
    descent: Descent,
    first: int,
    encoded: bool,
) -> tuple[Tensor, Tensor]:
    """The best point for each target, and its image; `start` holds as many points in a row for each."""
    starts = len(start) // len(targets)
    wanted = targets.repeat_interleave(starts, 0)
    labels = None if labels is None else labels.repeat_interleave(starts)
    noise = generator("project", descent.seed, "noise", first)
    units = prior.inward(start).requires_grad_()
    optimizer = torch.optim.Adam([units], lr=descent.step_size)

    def judge(units: Tensor, offset: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        seed_all("project", descent.seed, "decoder", first)  # what else a decoder draws stays still
        images = space.decode(prior.outward(units + offset), labels)
        return images, distance(images, wanted) + descent.prior_weight * prior.penalty(units, ball=encoded)

    for step in range(descent.steps):
        done = step / descent.steps
        optimizer.param_groups[0]["lr"] = descent.step_size * (0.5 + 0.5 * math.cos(math.pi * done))
        scale = 0.0 if encoded else descent.noise * max(0.0, 1 - done / NOISELESS) ** 2
        with torch.enable_grad():
            _, loss = judge(units, scale * torch.randn(units.shape, generator=noise).to(units.device))
        if not loss.requires_grad:
            raise UserError(f"checkpoint: {type(space.model).__name__} cannot be differentiated by its latents")
        (units.grad,) = torch.autograd.grad(loss.sum(), units)
        optimizer.step()
    with torch.no_grad():
        images, loss = judge(units)
        best = loss.view(-1, starts).argmin(1) + torch.arange(len(targets), device=loss.device) * starts
        return prior.outward(units)[best].detach(), images[best]


def distance(images: Tensor, targets: Tensor) -> Tensor:
    """`(B,)`: squared errors of the images and of smaller and smaller versions, which see shapes that are shifted."""
    sides = [scale for scale in SCALES if scale == 1 or min(images.shape[-2:]) >= 2 * scale]
    error = images - targets
    return sum(F.avg_pool2d(error, scale).square().flatten(1).mean(1) for scale in sides) / len(sides)
