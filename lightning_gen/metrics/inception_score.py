"""Inception Score, https://arxiv.org/abs/1606.03498, section 4."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.special import entr

from lightning_gen.bounds import PositiveInt
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_means import deviation
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.metrics.stored_features import concat
from lightning_gen.randomness import generator

MIN_SPLIT = 100  # images; the score of m images is at most m


class InceptionScore(FeatureMetric):
    """`exp(E[KL(p(y | x) || p(y))])` of an extractor's logits, averaged over `splits` of the samples.

    Splits have at least 100 images, so few samples make fewer splits. Samples are shuffled with `seed` before splitting
    (null: not shuffled), since files may be sorted by class. The standard error is that of the mean over splits.
    Stores the logits, 4 KB per image with 1000 classes, and computes in float64.
    """

    better = {"is": "higher"}

    fake_logits: list[Tensor]

    def __init__(self, splits: PositiveInt = 10, seed: int | None = 0):
        super().__init__()
        self.splits = splits
        self.seed = seed
        self.scores: list[float] = []
        self.add_state("fake_logits", [], dist_reduce_fx="cat")

    def why_not_with(self, extractor: Extractor) -> str | None:
        """The extractor must classify."""
        device = next((parameter.device for parameter in extractor.parameters()), "cpu")
        with torch.no_grad():
            classifies = extractor.logits(torch.zeros(1, extractor.num_features, device=device)) is not None
        return None if classifies else f"{extractor.name} has no logits"

    def update_real(self, features: Features) -> None:
        """Ignored: the score depends on samples only."""

    def update_fake(self, features: Features) -> None:
        """Add the logits of the samples."""
        self.update(features.logits())

    def update(self, logits: Tensor) -> None:
        """Add logits `(B, K)` of samples."""
        self.fake_logits.append(logits)

    def compute(self) -> dict[str, Tensor]:
        """The score; NaN without samples or with logits that are not finite."""
        logits = concat(self.fake_logits)
        if not len(logits):
            return {"is": torch.tensor(torch.nan)}
        if self.seed is not None:
            order = torch.randperm(len(logits), generator=generator("inception score", self.seed))
            logits = logits[order.to(logits.device)]
        splits = max(1, min(self.splits, len(logits) // MIN_SPLIT))
        bounds = [split * len(logits) // splits for split in range(splits + 1)]
        scores = torch.stack([score(logits[start:end]) for start, end in pairwise(bounds)])
        self.scores = scores.tolist()
        return {"is": scores.mean()}

    def standard_errors(self) -> dict[str, float]:
        """The standard deviation over splits, divided by the square root of their number."""
        std = deviation(self.scores)
        return {} if std is None else {"is": std / math.sqrt(len(self.scores))}

    def protocol(self) -> dict[str, Any]:
        """The number of splits used, and the seed."""
        return {"splits": len(self.scores), "seed": self.seed}


def score(logits: Tensor) -> Tensor:
    """The score of logits `(N, K)`: E[KL(p(y | x) || p(y))] = H(E[p]) - E[H(p)]."""
    p = logits.double().softmax(1)
    return (entr(p.mean(0)).sum() - entr(p).sum(1).mean()).exp()
