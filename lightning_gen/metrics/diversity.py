"""Diversity of samples: the mean distance of pairs, as in https://arxiv.org/abs/1711.11586."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.metrics.stored_features import StoredFeaturesMetric, concat

CHUNK = 4096  # rows converted to float64 at a time


class Diversity(StoredFeaturesMetric):
    """Mean squared distance of all pairs of samples, in features of length 1 as in LPIPS (1801.03924, eq. 1).

    0 for identical samples; a good model approaches `diversity_real`, the value of the real images. If images have
    labels, `diversity_within_class` is the mean over classes of the value for pairs of one class.
    """

    better = {
        "diversity": "higher",
        "diversity_real": "higher",
        "diversity_within_class": "higher",
        "diversity_within_class_real": "higher",
    }

    def compute(self) -> dict[str, Tensor]:
        """The means; NaN without two images, or with features that are not finite."""
        scores = {}
        sides = {
            "": (concat(self.fake_features), concat(self.fake_labels)),
            "_real": (concat(self.real_features), concat(self.real_labels)),
        }
        for suffix, (features, labels) in sides.items():
            scores["diversity" + suffix] = mean_of_pairs(features) if len(features) else torch.tensor(torch.nan)
            if len(labels):
                scores["diversity_within_class" + suffix] = mean_within_classes(features, labels)
        return {name: scores[name] for name in self.better if name in scores}


def mean_of_pairs(features: Tensor) -> Tensor:
    """Mean over pairs of `|a - b|^2` of features `(N, d)` scaled to length 1, computed from sums in O(N)."""
    n = len(features)
    total = features.new_zeros(features.shape[1], dtype=torch.float64)
    squares = features.new_zeros((), dtype=torch.float64)
    for rows in features.split(CHUNK):
        unit = F.normalize(rows.double(), dim=1)
        total = total + unit.sum(0)
        squares = squares + unit.square().sum()
    pairs = n * (n - 1) if n > 1 else torch.nan
    return 2 * (n * squares - total.square().sum()).clamp(min=0) / pairs


def mean_within_classes(features: Tensor, labels: Tensor) -> Tensor:
    """Mean of `mean_of_pairs` over the classes with at least two images."""
    means = torch.stack([mean_of_pairs(features[labels == label]) for label in labels.unique()])
    return means[labels.unique(return_counts=True)[1] > 1].mean()
