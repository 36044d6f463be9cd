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

PRIOR_SAMPLES = 4096  # points from which mean and standard deviation of the prior are estimated
NOISE_END = 0.75  # fraction of the steps after which no noise is added
SCALES = (1, 2, 4, 8)  # pixels a side of the averages that are compared


@dataclass(kw_only=True)
class Descent:
    """Settings of the descent; `step_size` and `noise` are in standard deviations of the latents."""

    starts: int
    steps: int
    step_size: float
    noise: float
    prior_weight: float
    batch_size: int
    seed: int


class Prior:
    """Mean and standard deviation of each coordinate of a space; the descent is over whitened points."""

    def __init__(self, space: LatentSpace, seed: int):
        seed_all("project", seed, "prior")
        points = space.sample(PRIOR_SAMPLES, None)
        self.mean, self.std = points.mean(0), points.std(0).clamp(min=1e-4)

    def whiten(self, points: Tensor) -> Tensor:
        return (points - self.mean) / self.std

    def unwhiten(self, whitened: Tensor) -> Tensor:
        return self.mean + whitened * self.std

    def penalty(self, whitened: Tensor, ball: bool) -> Tensor:
        """Squared distance `(B,)` from the sphere on which high-dimensional priors lie, or from the `ball`."""
        excess = whitened.square().mean(1).clamp(min=1e-12).sqrt() - 1
        return (excess.clamp(min=0) if ball else excess).square()


def project(space: LatentSpace, targets: Tensor, labels: Tensor | None, descent: Descent) -> tuple[Tensor, Tensor]:
    """Points `(n, d)` of `space` whose images approximate `targets` `(n, C, H, W)`, and these images.

    The descent starts at the encoder's output, or, for a model without encoder, at several random points, of which the
    best counts.
    """
    space.model.requires_grad_(False)
    with torch.no_grad():
        prior = Prior(space, descent.seed)
        encoded = space.encode(targets, labels)
    if encoded is not None and encoded.shape[1:] != prior.mean.shape:
        encoded = None  # the encoder's output is no point of this space
    batch_size = max(1, descent.batch_size // (1 if encoded is not None else descent.starts))
    results = []
    with progress("projections", len(targets)) as advance:
        for first in range(0, len(targets), batch_size):
            batch = slice(first, first + batch_size)
            batch_labels = None if labels is None else labels[batch]
            if encoded is None:
                start = _random_starts(space, first, len(targets[batch]), batch_labels, descent)
            else:
                start = encoded[batch]
            results.append(
                _descend(space, prior, start, targets[batch], batch_labels, descent, first, encoded is not None)
            )
            advance(len(targets[batch]))
    points, images = zip(*results, strict=True)
    return torch.cat(points), torch.cat(images)


def _random_starts(space: LatentSpace, first: int, n: int, labels: Tensor | None, descent: Descent) -> Tensor:
    """Random points `(n * starts, d)`; those of an image depend on its index, not on its batch."""
    starts = []
    for index in range(n):
        seed_all("project", descent.seed, "start", first + index)
        with torch.no_grad():
            image_labels = None if labels is None else labels[index].expand(descent.starts)
            starts.append(space.sample(descent.starts, image_labels))
    return torch.cat(starts)


def _descend(
    space: LatentSpace,
    prior: Prior,
    start: Tensor,  # (n * starts, d), those of a target one after another
    targets: Tensor,  # (n, C, H, W)
    labels: Tensor | None,
    descent: Descent,
    first: int,  # index of the first target
    encoded: bool,  # whether `start` comes from an encoder
) -> tuple[Tensor, Tensor]:
    """The best point for each target, and its image."""
    starts = len(start) // len(targets)
    repeated_targets = targets.repeat_interleave(starts, 0)
    labels = None if labels is None else labels.repeat_interleave(starts)
    noise = generator("project", descent.seed, "noise", first)
    whitened = prior.whiten(start).requires_grad_()
    optimizer = torch.optim.Adam([whitened], lr=descent.step_size)

    def evaluate(whitened: Tensor, offset: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """Images at the points, moved by `offset`, and their losses."""
        seed_all("project", descent.seed, "decoder", first)  # the decoder's own noise is the same at all steps
        images = space.decode(prior.unwhiten(whitened + offset), labels)
        return images, distance(images, repeated_targets) + descent.prior_weight * prior.penalty(whitened, ball=encoded)

    for step in range(descent.steps):
        progressed = step / descent.steps
        optimizer.param_groups[0]["lr"] = descent.step_size * (0.5 + 0.5 * math.cos(math.pi * progressed))
        scale = 0.0 if encoded else descent.noise * max(0.0, 1 - progressed / NOISE_END) ** 2
        with torch.enable_grad():
            _, loss = evaluate(whitened, scale * torch.randn(whitened.shape, generator=noise).to(whitened.device))
        if not loss.requires_grad:
            raise UserError(f"checkpoint: {type(space.model).__name__} cannot be differentiated by its latents")
        (whitened.grad,) = torch.autograd.grad(loss.sum(), whitened)
        optimizer.step()
    with torch.no_grad():
        images, loss = evaluate(whitened)
        best = loss.view(-1, starts).argmin(1) + torch.arange(len(targets), device=loss.device) * starts
        return prior.unwhiten(whitened)[best].detach(), images[best]


def distance(images: Tensor, targets: Tensor) -> Tensor:
    """Squared error `(B,)`, averaged over resolutions; the lower ones are sensitive to shifted shapes."""
    scales = [scale for scale in SCALES if scale == 1 or min(images.shape[-2:]) >= 2 * scale]
    error = images - targets
    errors = [F.avg_pool2d(error, scale).square().flatten(1).mean(1) for scale in scales]
    return sum(errors, start=torch.zeros_like(errors[0])) / len(scales)
