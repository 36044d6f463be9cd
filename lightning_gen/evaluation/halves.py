"""How far scores of features may be off because samples are few: their deviation over random halves of the samples."""

import torch
from torch import Tensor

from lightning_gen.evaluation.building import numbers_of
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_means import deviation
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.randomness import generator
from lightning_gen.utilities.progress import Advance


def deviations_of_halves(
    name: str, metric: FeatureMetric, samples: Features, draws: int, seed: int, advance: Advance
) -> dict[str, float]:
    """The standard deviation of each score of a metric over `draws` random halves of the samples.

    For halves drawn without replacement it equals that of the full set around its expectation (delete-half jackknife,
    https://doi.org/10.1214/aos/1176347263). The bootstrap would draw samples twice, which would then be their own
    nearest neighbors.
    """
    scores: dict[str, list[float]] = {}
    for values in metric.compute_parts(samples, random_halves(samples, draws, seed)):
        for score, value in numbers_of(name, metric, values).items():
            scores.setdefault(score, []).append(value)
        advance(1)
    deviations = {score: deviation(values) for score, values in scores.items()}
    return {score: value for score, value in deviations.items() if value is not None}


def random_halves(samples: Features, draws: int, seed: int) -> Tensor:
    """Indices `(draws, n)` of random halves, on the device of the features."""
    generators = [generator("half samples", seed, draw) for draw in range(draws)]
    orders = [torch.randperm(len(samples), generator=each)[: len(samples) // 2] for each in generators]
    return torch.stack(orders).to(samples.values.device)
