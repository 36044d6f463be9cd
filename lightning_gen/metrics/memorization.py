"""Whether samples are copies of training images: how near they are to them, as against images never learned from."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.kept_features import KeptFeatures, all_finite, together
from lightning_gen.metrics.neighbors import Nearest

NEAR = 0.05  # the share of real images that count as near to a training image
SAME = 1e-4  # of a feature's length: up to this distance a real image is taken for the training image itself


class Memorization(KeptFeatures):
    """Distances of features to their nearest training image, of samples beside real images of the split.

    - `memorization`: the share of samples that are nearer than the nearest 5 % of the real images are. 5 % is what a
      perfect generator has; a model whose images are far from all data has 0.
    - `training_distance` and `training_distance_real`: the medians.

    Real images that are training images themselves (`split=train`) are compared with the others.
    """

    needs_training_set = True
    better = {"memorization": "lower", "training_distance": "higher", "training_distance_real": "higher"}

    real_training: list[Tensor]

    def __init__(self):
        super().__init__()
        self.add_state("real_training", [], dist_reduce_fx="cat")
        self._usual: Tensor | None = None

    def see_training_set(self, features: Features) -> None:
        """Take in the images that the model has learned from."""
        self.update_training(features.values)

    def update_training(self, features: Tensor) -> None:
        """Take in features `(B, d)` of training images."""
        self.real_training.append(features)
        self._usual = None

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Take in features `(B, d)`."""
        super().update(features, real)
        if real:
            self._usual = None

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._usual = None

    def reset_fake(self) -> None:
        """Forget the samples; the real images' distances, which don't change, are kept too."""
        usual = self._usual
        super().reset_fake()
        self._usual = usual

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        training = together(self.real_training)
        if training is None or len(training) < 2 or not all_finite(training):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        if self._usual is None:
            self._usual = distances_to_others(real, training)
        nearest = Nearest(fake, 1)
        nearest.update(training)
        distances = nearest.distances[:, 0]
        return {
            "memorization": (distances < self._usual.quantile(NEAR)).double().mean(),
            "training_distance": distances.quantile(0.5),
            "training_distance_real": self._usual.quantile(0.5),
        }

    def protocol(self) -> dict[str, Any]:
        """When a sample is near."""
        return {"near": f"as the nearest {NEAR:.0%} of real images"}


def distances_to_others(real: Tensor, training: Tensor) -> Tensor:
    """The distance of each real image `(N, d)` to the nearest training image `(M, d)` that is not this image."""
    nearest = Nearest(real, 2)
    nearest.update(training)
    first, second = nearest.distances.unbind(1)
    # the features of one image differ by rounding with the batch it was in
    return torch.where(first <= SAME * real.norm(dim=1), second, first)
