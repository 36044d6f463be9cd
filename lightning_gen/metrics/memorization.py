"""Memorization: distances of samples to training images, compared with held-out images."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.neighbors import Nearest
from lightning_gen.metrics.stored_features import StoredFeaturesMetric, all_finite, concat

NEAR = 0.05  # quantile of real images that count as near to a training image
SAME = 1e-4  # relative distance up to which a real image and a training image are the same image


class Memorization(StoredFeaturesMetric):
    """Distances to the nearest training image, in features, of samples and of real images of the split.

    - `memorization`: fraction of samples nearer than the nearest 5 % of the real images. A perfect generator has 5 %, a
      model whose samples are far from all data 0.
    - `training_distance` and `training_distance_real`: medians.

    Real images that are training images themselves (`split=train`) are compared with the other training images.
    """

    needs_training_set = True
    better = {"memorization": "lower", "training_distance": "higher", "training_distance_real": "higher"}

    real_training: list[Tensor]

    def __init__(self):
        super().__init__()
        self.add_state("real_training", [], dist_reduce_fx="cat")

    def update_training_set(self, features: Features) -> None:
        """Add the features of the training images."""
        self.update_training(features.values)

    def update_training(self, features: Tensor) -> None:
        """Add features `(B, d)` of training images."""
        self.real_training.append(features)
        self.known_real, self.known_fake = {}, {}

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Add features `(B, d)`."""
        super().update(features, real)

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> list[dict[str, Tensor]]:
        training = concat(self.real_training)
        if len(training) < 2 or not all_finite(training):
            return [self._undefined()] * len(parts)
        if "distances" not in self.known_real:
            self.known_real["distances"] = distances_to_others(real, training)
        if "distances" not in self.known_fake:
            self.known_fake["distances"] = nearest_distances(fake, training, 1)[:, 0]
        return [self._scores(self.known_fake["distances"][index]) for index in parts]

    def _scores(self, distances: Tensor) -> dict[str, Tensor]:
        real_distances = self.known_real["distances"]
        return {
            "memorization": (distances < real_distances.quantile(NEAR)).double().mean(),
            "training_distance": distances.quantile(0.5),
            "training_distance_real": real_distances.quantile(0.5),
        }

    def protocol(self) -> dict[str, Any]:
        """The criterion for memorized samples."""
        return {"near": f"as the nearest {NEAR:.0%} of real images"}


def nearest_distances(features: Tensor, training: Tensor, k: int) -> Tensor:
    """Distances `(N, k)` of features `(N, d)` to the `k` nearest training images `(M, d)`, in ascending order."""
    nearest = Nearest(features, k)
    nearest.update(training)
    return nearest.distances


def distances_to_others(real: Tensor, training: Tensor) -> Tensor:
    """Distance `(N,)` of each real image `(N, d)` to the nearest training image `(M, d)` that is not the same image."""
    first, second = nearest_distances(real, training, 2).unbind(1)
    # Features of the same image differ by rounding between batches.
    return torch.where(first <= SAME * real.norm(dim=1), second, first)
