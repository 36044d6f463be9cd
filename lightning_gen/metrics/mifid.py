"""Memorization-informed Fréchet distance, https://arxiv.org/abs/2106.03062, section 4.1."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.neighbors import BLOCK
from lightning_gen.metrics.stored_features import concat

EPSILON = 1e-14  # avoids a division by zero for exact copies of training images


class MemorizationInformedFrechet(FrechetDistance):
    """Fréchet distance, divided by the mean cosine distance of samples to their nearest training image if the latter is
    below `threshold`.

    The paper uses one set for both distances: `split=train`. Stores the features of samples and training images, 5 KB
    per image with 1280 features.
    """

    better = {"mifid": "lower"}
    needs_training_set = True

    real_training: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self, threshold: NonNegativeFloat = 0.1):
        super().__init__()
        self.threshold = threshold
        for state in ("real_training", "fake_features"):
            self.add_state(state, [], dist_reduce_fx="cat")
        self._distances: Tensor | None = None  # of the samples to the training images

    def update_training_set(self, features: Features) -> None:
        """Add the features of the training images."""
        self.update_training(features.values)

    def update_training(self, features: Tensor) -> None:
        """Add features `(B, d)` of training images."""
        self.real_training.append(features)
        self._distances = None

    def update(self, features: Tensor, real: bool) -> None:
        """Add features `(B, d)`."""
        super().update(features, real)
        if not real:
            self.fake_features.append(features)
            self._distances = None

    def reset(self) -> None:
        """Reset all states."""
        super().reset()
        self._distances = None

    def compute(self) -> dict[str, Tensor]:
        """The penalized distance; NaN where the Fréchet distance is."""
        return self._penalized(super().compute()["frechet"])

    def compute_parts(self, features: Features, parts: Tensor) -> Iterator[dict[str, Tensor]]:
        """The distances of parts of the samples, NaN likewise."""
        for index, scores in zip(parts, super().compute_parts(features, parts), strict=True):
            yield self._penalized(scores["frechet"], index)

    def _penalized(self, frechet: Tensor, index: Tensor | None = None) -> dict[str, Tensor]:
        training = concat(self.real_training)
        if not len(training) or frechet.isnan():
            return {"mifid": torch.full_like(frechet, torch.nan)}
        if self._distances is None:
            self._distances = cosine_distances(concat(self.fake_features), training)
        distance = (self._distances if index is None else self._distances[index]).mean()
        return {"mifid": frechet / (distance + EPSILON) if distance < self.threshold else frechet}

    def protocol(self) -> dict[str, Any]:
        """The threshold of the penalty."""
        return {"penalised_below_cosine_distance": self.threshold, "memorization_of": "the training set"}


def cosine_distances(features: Tensor, others: Tensor) -> Tensor:
    """Cosine distance `1 - |cos|` `(N,)` of features `(N, d)` to the nearest of `others` `(M, d)`, in float64."""
    largest = features.new_zeros(len(features), dtype=torch.float64)
    for rows in torch.arange(len(features), device=features.device).split(BLOCK):
        unit = F.normalize(features[rows].double(), dim=1)
        for block in others.split(BLOCK):
            cosines = unit @ F.normalize(block.double(), dim=1).T
            largest[rows] = torch.maximum(largest[rows], cosines.abs().amax(1))
    return (1 - largest).clamp(min=0)
