"""Perceptual path length, https://arxiv.org/abs/1812.04948, section 4.1."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.capabilities import HasLatent, HasStyle
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.image_metric import ModelMetric
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.latent_space import SPACES, LatentSpace
from lightning_gen.utilities.progress import progress

DISCARDED = 0.01  # the share of pairs on either side that does not count


class PathLength(ModelMetric):
    """How far images go, in features of length 1, for a small step between two latents: `E[d^2 / epsilon^2]`.

    Eq. 2 in `space` z, along spheres, and eq. 3 in w, along lines; `auto` is w where a model has it. Steps begin
    anywhere on a path (`place=full`), or at its start (`end`). Both images of a pair have one label and one noise. The
    lowest and the highest 1 % of the distances are discarded. Images are not rounded to 8 bits, which would hide the
    step. Distances are squared, as LPIPS is, with which the paper's numbers were computed; they compare with none of
    another extractor.
    """

    better = {"path_length": "lower"}

    distances: Tensor

    def __init__(
        self,
        pairs: PositiveInt = 10_000,
        batch_size: PositiveInt = 64,
        epsilon: PositiveFloat = 1e-4,
        space: Literal["auto", "z", "w"] = "auto",
        place: Literal["full", "end"] = "full",
    ):
        super().__init__()
        self.pairs = pairs
        self.batch_size = batch_size
        self.epsilon = epsilon
        self.space = space
        self.place = place
        self.used = space
        self.error = math.nan
        self.add_state("distances", torch.zeros(pairs, dtype=torch.float64), dist_reduce_fx="sum")

    def why_not(self, model: Any, data: Any) -> str | None:
        """There must be latents, of images."""
        if not isinstance(model, HasLatent):
            return f"{type(model).__name__} has no latents that it decodes"
        if self.space == "w" and not isinstance(model, HasStyle):
            return f"{type(model).__name__} has no w; give space=z"
        return "looks at single images" if len(model.image_shape) != 3 else None

    def why_not_with(self, extractor: Extractor) -> str | None:
        """Some extractors take 8-bit values alone."""
        return None if extractor.takes_fractions else f"{extractor.name} rounds images, which hides a small step"

    def measure(self, model: Any, extractor: Extractor, seed: int, rank: int, world_size: int) -> None:
        """Every so many-th batch of pairs, seeded by their place."""
        styled = isinstance(model, HasStyle) if self.space == "auto" else self.space == "w"
        self.used = "w" if styled else "z"
        space = SPACES[self.used](model)
        starts = range(0, self.pairs, self.batch_size)[rank::world_size]
        with progress("pairs of neighboring latents", len(starts) * self.batch_size, self.show_progress) as advance:
            for start in starts:
                n = min(self.batch_size, self.pairs - start)
                self.update(self._batch(space, extractor, n, seed, start), start)
                advance(n)

    def update(self, distances: Tensor, start: int) -> None:
        """Take in distances `(B,)` of the pairs from number `start` on."""
        self.distances[start : start + len(distances)] = distances.to(self.distances.device)

    def _batch(self, space: LatentSpace, extractor: Extractor, n: int, seed: int, start: int) -> Tensor:
        """The distances of `n` pairs."""
        seed_all("path length", seed, start)
        labels = space.model.draw_labels(n)
        # In single precision the step would be lost in rounding; there are devices that have no other.
        ends = [space.sample(n, labels).cpu().double() for _ in range(2)]
        place = torch.rand(n, 1, dtype=torch.float64) * (self.place == "full")
        units = []
        for fraction in (place, place + self.epsilon):
            point = space.between(*ends, fraction).float().to(space.model.device)
            seed_all("path length", seed, start, "noise")
            features = extractor.unrounded(space.decode(point, labels))
            units.append(F.normalize(features.cpu().double(), dim=1))
        return (units[0] - units[1]).square().sum(1) / self.epsilon**2

    def compute(self) -> dict[str, Tensor]:
        """The mean; NaN with an image that is not finite."""
        found = self.distances
        if not found.isfinite().all():
            self.error = math.nan
            return {"path_length": found.new_full((), math.nan)}
        low = found.quantile(DISCARDED, interpolation="lower")
        high = found.quantile(1 - DISCARDED, interpolation="higher")
        kept = found[(found >= low) & (found <= high)]
        self.error = kept.std().item() / math.sqrt(len(kept))
        return {"path_length": kept.mean()}

    def standard_errors(self) -> dict[str, float]:
        """That of the mean over pairs."""
        return {"path_length": self.error}

    def protocol(self) -> dict[str, Any]:
        """What is a step, and how many."""
        return {
            "pairs": self.pairs,
            "epsilon": self.epsilon,
            "space": self.used,
            "place": self.place,
            "discarded_each_side": DISCARDED,
        }
