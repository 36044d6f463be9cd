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
from lightning_gen.metrics.kept_features import together
from lightning_gen.randomness import generator

SMALLEST_SPLIT = 100  # images; the score of m images is at most m


class InceptionScore(FeatureMetric):
    """`exp(E[KL(p(y | x) || p(y))])` of an extractor's logits, the mean over `splits` of the samples.

    With few samples there are fewer splits, of at least 100 images. The samples are shuffled by `seed` before they are
    split (null: not at all), since files may be sorted by class. The standard error is that of the mean over splits.
    Keeps the logits, 4 KB an image with 1000 of them, and computes in float64.
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
        """Some extractors don't classify."""
        device = next((parameter.device for parameter in extractor.parameters()), "cpu")
        with torch.no_grad():
            classifies = extractor.logits(torch.zeros(1, extractor.num_features, device=device)) is not None
        return None if classifies else f"{extractor.name} tells no classes"

    def see_real(self, features: Features) -> None:
        """Real images don't count."""

    def see_fake(self, features: Features) -> None:
        """Take in the samples."""
        self.update(features.logits())

    def update(self, logits: Tensor) -> None:
        """Take in logits `(B, K)` of samples."""
        self.fake_logits.append(logits)

    def compute(self) -> dict[str, Tensor]:
        """The score; NaN without samples or with logits that are not finite."""
        logits = together(self.fake_logits)
        if logits is None:
            return {"is": torch.tensor(torch.nan)}
        if self.seed is not None:
            order = torch.randperm(len(logits), generator=generator("inception score", self.seed))
            logits = logits[order.to(logits.device)]
        splits = max(1, min(self.splits, len(logits) // SMALLEST_SPLIT))
        bounds = [split * len(logits) // splits for split in range(splits + 1)]
        found = torch.stack([score(logits[a:b]) for a, b in pairwise(bounds)])
        self.scores = found.tolist()
        return {"is": found.mean()}

    def standard_errors(self) -> dict[str, float]:
        """The splits' standard deviation over the root of their number."""
        found = deviation(self.scores)
        return {} if found is None else {"is": found / math.sqrt(len(self.scores))}

    def protocol(self) -> dict[str, Any]:
        """Splits as they were."""
        return {"splits": len(self.scores), "seed": self.seed}


def score(logits: Tensor) -> Tensor:
    """The score of one set of logits `(N, K)`: the mean divergence is the mean's entropy less the mean entropy."""
    p = logits.double().softmax(1)
    return (entr(p.mean(0)).sum() - entr(p).sum(1).mean()).exp()
