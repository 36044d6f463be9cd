"""How much samples differ from each other: the mean distance of pairs, as https://arxiv.org/abs/1711.11586 has it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.metrics.kept_features import KeptFeatures, together

ROWS = 4096  # features made float64 at a time


class Diversity(KeptFeatures):
    """The mean squared distance of all pairs of samples, of features of length 1 as in LPIPS (1801.03924, eq. 1).

    0 if all samples are alike; `diversity_real` is that of the real images, which a good model comes near to. Where
    images have labels, `diversity_within_class` is the mean over classes of that of pairs of one class.
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
        for end, features, labels in (
            ("", self.fake_features, self.fake_labels),
            ("_real", self.real_features, self.real_labels),
        ):
            features, labels = together(features), together(labels)
            scores["diversity" + end] = torch.tensor(torch.nan) if features is None else mean_of_pairs(features)
            if features is not None and labels is not None:
                scores["diversity_within_class" + end] = mean_within_classes(features, labels)
        return {name: scores[name] for name in self.better if name in scores}


def mean_of_pairs(features: Tensor) -> Tensor:
    """Mean over pairs of `|a - b|^2` of features `(N, d)` scaled to length 1; their sums are all that it takes."""
    n = len(features)
    total, squares = features.new_zeros(features.shape[1], dtype=torch.float64), 0
    for rows in features.split(ROWS):
        unit = F.normalize(rows.double(), dim=1)
        total = total + unit.sum(0)
        squares = squares + unit.square().sum()
    pairs = n * (n - 1) if n > 1 else torch.nan
    return 2 * (n * squares - total.square().sum()).clamp(min=0) / pairs


def mean_within_classes(features: Tensor, labels: Tensor) -> Tensor:
    """The mean of that over the classes that have two images."""
    found = torch.stack([mean_of_pairs(features[labels == label]) for label in labels.unique()])
    return found[labels.unique(return_counts=True)[1] > 1].mean()
