"""Metrics that need the features of all images at once."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)


class StoredFeaturesMetric(FeatureMetric):
    """Base of metrics that store all features (5 KB per image with 1280 features), and labels if the images have any.

    Subclasses implement `compare`, or `compare_parts` where parts of the samples can share work. All scores are NaN
    with features that are not finite, or fewer than `min_images` images on a side. What subclasses put in `known_real`
    and `known_fake` lasts until the images of that side, or the real ones, change.
    """

    real_features: list[Tensor]
    fake_features: list[Tensor]
    real_labels: list[Tensor]
    fake_labels: list[Tensor]

    def __init__(self):
        super().__init__()
        for kind in ("real", "fake"):
            for state in ("features", "labels"):
                self.add_state(f"{kind}_{state}", [], dist_reduce_fx="cat")
        self.known_real: dict[str, Any] = {}
        self.known_fake: dict[str, Any] = {}

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The scores of features `(N, d)` and `(M, d)`."""
        shared = self.compare_parts(real, fake, torch.arange(len(fake), device=fake.device)[None])
        if shared is None:
            raise NotImplementedError
        return next(iter(shared))

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> Iterable[dict[str, Tensor]] | None:
        """The scores of `real` and `fake[index]` for each index of `parts` `(P, n)`; None: nothing can be shared."""
        return None

    def compute_parts(self, features: Features, parts: Tensor) -> Iterable[dict[str, Tensor]]:
        """By `compare_parts`; NaN where scores of parts, or of all samples, are undefined."""
        real, fake = concat(self.real_features), features.values
        if not self._are_defined(real, fake, parts.shape[1]):
            return [self._undefined()] * len(parts)
        shared = self.compare_parts(real, fake, parts)
        return super().compute_parts(features, parts) if shared is None else shared

    def update_real(self, features: Features) -> None:
        """Add the features and labels of the real images."""
        self.update(features.values, real=True, labels=features.labels)

    def update_fake(self, features: Features) -> None:
        """Add the features and labels of the samples."""
        self.update(features.values, real=False, labels=features.labels)

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Add features `(B, d)` and labels `(B,)`; labels for all images of a side, or for none."""
        (self.real_features if real else self.fake_features).append(features)
        self.known_real = {} if real else self.known_real
        self.known_fake = {}
        if labels is not None:
            (self.real_labels if real else self.fake_labels).append(labels)

    def compute(self) -> dict[str, Tensor]:
        """The scores, or NaN."""
        real, fake = concat(self.real_features), concat(self.fake_features)
        return self.compare(real, fake) if self._are_defined(real, fake, len(fake)) else self._undefined()

    def reset(self) -> None:
        """Reset all states."""
        super().reset()
        self.known_real, self.known_fake = {}, {}

    def reset_fake(self) -> None:
        """Reset the samples; keeps what is known of the real images."""
        known = self.known_real
        super().reset_fake()
        self.known_real = known

    def _are_defined(self, real: Tensor, fake: Tensor, num_fake: int) -> bool:
        return min(len(real), num_fake) >= self.min_images and all_finite(real) and all_finite(fake)

    def _undefined(self) -> dict[str, Tensor]:
        return dict.fromkeys(self.better, torch.tensor(torch.nan))


def concat(parts: list[Tensor] | Tensor) -> Tensor:
    """A list state, or its reduction over processes, as one tensor; `(0,)` if it is empty."""
    if not len(parts):
        return torch.zeros(0)
    return parts[0] if isinstance(parts, list) and len(parts) == 1 else dim_zero_cat(parts)  # that would copy


def all_finite(features: Tensor) -> bool:
    """Whether no value is NaN or infinite; unlike `isfinite`, without copies (400 MB for 50k x 2048)."""
    return all(bool(bound.isfinite()) for bound in features.aminmax())  # both are NaN if any value is
