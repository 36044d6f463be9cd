"""Perceptual path length, https://arxiv.org/abs/1812.04948, section 4.1."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.capabilities import HasLatent, HasStyle
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.image_metric import ModelMetric
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.latent_space import LatentModel, LatentSpace, StyleModel, StyleSpace
from lightning_gen.utilities.progress import progress

DISCARDED = 0.01  # fraction of pairs discarded at either end


class PathLength(ModelMetric):
    """Mean squared feature distance per small step between latents: `E[d^2 / epsilon^2]`, in features of length 1.

    Eq. 2 in `space` z, by spherical interpolation, and eq. 3 in w, by linear interpolation; `auto` is w if the model
    has it. Steps start anywhere on a path (`place=full`) or at its start (`end`). Both images of a pair share label and
    noise. The lowest and highest 1 % of the distances are discarded. Images are not rounded to 8 bits, which would hide
    the step. Like LPIPS in the paper, distances are squared; they don't compare between extractors.
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
        self.used: str = space
        self.error = math.nan
        self.add_state("distances", torch.zeros(pairs, dtype=torch.float64), dist_reduce_fx="sum")

    def why_not(self, model: ImageGenerator, data: Any) -> str | None:
        """The model must have latents, and make single images."""
        if not isinstance(model, HasLatent):
            return f"{type(model).__name__} has no latents that it decodes"
        if self.space == "w" and not isinstance(model, HasStyle):
            return f"{type(model).__name__} has no w; give space=z"
        return "takes single images" if len(model.image_shape) != 3 else None

    def why_not_with(self, extractor: Extractor) -> str | None:
        """The extractor must take images that are not rounded to 8 bits."""
        return None if extractor.takes_fractions else f"{extractor.name} rounds images, which hides a small step"

    def measure(self, model: ImageGenerator, extractor: Extractor, seed: int, rank: int, world_size: int) -> None:
        """Measure every `world_size`-th batch of pairs, seeded by its position."""
        assert isinstance(model, LatentModel)  # see why_not
        space = StyleSpace(model) if self.space != "z" and isinstance(model, StyleModel) else LatentSpace(model)
        self.used = space.name
        starts = range(0, self.pairs, self.batch_size)[rank::world_size]
        with progress("pairs of neighboring latents", len(starts) * self.batch_size, self.show_progress) as advance:
            for start in starts:
                n = min(self.batch_size, self.pairs - start)
                self.update(self._distances(space, extractor, n, seed, start), start)
                advance(n)

    def update(self, distances: Tensor, start: int) -> None:
        """Add distances `(B,)` of the pairs from index `start` on."""
        self.distances[start : start + len(distances)] = distances.to(self.distances.device)

    def _distances(self, space: LatentSpace, extractor: Extractor, n: int, seed: int, start: int) -> Tensor:
        """Distances of `n` pairs."""
        seed_all("path length", seed, start)
        labels = space.model.draw_labels(n)
        # Single precision would round the step away; on the CPU, since some devices have no float64.
        start_point, end_point = (space.sample(n, labels).cpu().double() for _ in range(2))
        position = torch.rand(n, 1, dtype=torch.float64)
        if self.place == "end":
            position = torch.zeros_like(position)
        units = []
        for fraction in (position, position + self.epsilon):
            point = space.between(start_point, end_point, fraction).float().to(space.model.device)
            seed_all("path length", seed, start, "noise")
            features = extractor.unrounded(space.decode(point, labels))
            units.append(F.normalize(features.cpu().double(), dim=1))
        return (units[0] - units[1]).square().sum(1) / self.epsilon**2

    def compute(self) -> dict[str, Tensor]:
        """The mean; NaN if an image is not finite."""
        distances = self.distances
        if not distances.isfinite().all():
            self.error = math.nan
            return {"path_length": distances.new_full((), math.nan)}
        low = distances.quantile(DISCARDED, interpolation="lower")
        high = distances.quantile(1 - DISCARDED, interpolation="higher")
        kept = distances[(distances >= low) & (distances <= high)]
        self.error = kept.std().item() / math.sqrt(len(kept))
        return {"path_length": kept.mean()}

    def standard_errors(self) -> dict[str, float]:
        """Standard error of the mean over pairs."""
        return {"path_length": self.error}

    def protocol(self) -> dict[str, Any]:
        """Number and size of the steps, and their space."""
        return {
            "pairs": self.pairs,
            "epsilon": self.epsilon,
            "space": self.used,
            "place": self.place,
            "discarded_each_side": DISCARDED,
        }
