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
        self._real_distances: Tensor | None = None

    def update_training_set(self, features: Features) -> None:
        """Add the features of the training images."""
        self.update_training(features.values)

    def update_training(self, features: Tensor) -> None:
        """Add features `(B, d)` of training images."""
        self.real_training.append(features)
        self._real_distances = None

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Add features `(B, d)`."""
        super().update(features, real)
        if real:
            self._real_distances = None

    def reset(self) -> None:
        """Reset all states."""
        super().reset()
        self._real_distances = None

    def reset_fake(self) -> None:
        """Reset the samples; keeps the distances of the real images."""
        distances = self._real_distances
        super().reset_fake()
        self._real_distances = distances

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        training = concat(self.real_training)
        if len(training) < 2 or not all_finite(training):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        if self._real_distances is None:
            self._real_distances = distances_to_others(real, training)
        nearest = Nearest(fake, 1)
        nearest.update(training)
        distances = nearest.distances[:, 0]
        return {
            "memorization": (distances < self._real_distances.quantile(NEAR)).double().mean(),
            "training_distance": distances.quantile(0.5),
            "training_distance_real": self._real_distances.quantile(0.5),
        }

    def protocol(self) -> dict[str, Any]:
        """The criterion for memorized samples."""
        return {"near": f"as the nearest {NEAR:.0%} of real images"}


def distances_to_others(real: Tensor, training: Tensor) -> Tensor:
    """Distance `(N,)` of each real image `(N, d)` to the nearest training image `(M, d)` that is not the same image."""
    nearest = Nearest(real, 2)
    nearest.update(training)
    first, second = nearest.distances.unbind(1)
    # Features of the same image differ by rounding between batches.
    return torch.where(first <= SAME * real.norm(dim=1), second, first)
