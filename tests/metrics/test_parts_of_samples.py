"""Scores of parts of the samples, which share work: they are those of each part by itself."""

import importlib
import math

import pytest
import torch
from helpers.scoring import ClassifyingPixels
from torchmetrics.image.kid import poly_mmd

from lightning_gen.metrics.class_frechet import ClassFrechet
from lightning_gen.metrics.density_coverage import DensityCoverage
from lightning_gen.metrics.diversity import Diversity
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.metrics.inception_score import InceptionScore
from lightning_gen.metrics.kernel import means_across, means_within
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.metrics.memorization import Memorization
from lightning_gen.metrics.mifid import MemorizationInformedFrechet
from lightning_gen.metrics.precision_recall import PrecisionRecall
from lightning_gen.randomness import generator

ALL = {
    "frechet": FrechetDistance,
    "kid": lambda: KernelDistance(subsets=7, subset_size=12),
    "kid of all": lambda: KernelDistance(subsets=0),
    "kid of few": lambda: KernelDistance(subsets=7),
    "inception score": InceptionScore,
    "precision, recall": PrecisionRecall,
    "density, coverage": DensityCoverage,
    "memorization": Memorization,
    "mifid": lambda: MemorizationInformedFrechet(threshold=0.9),
    "class frechet": ClassFrechet,
    "diversity": Diversity,
}


def features(n: int, key: str, d: int = 6) -> Features:
    values = torch.randn(n, d, generator=generator("parts", key)) + (0.3 if key == "fake" else 0)
    return Features(values, torch.arange(n) % 3, ClassifyingPixels())


def filled(make, fake: Features, n_real: int = 50) -> FeatureMetric:
    metric = make()
    if metric.needs_training_set:
        metric.update_training_set(features(40, "training", fake.values.shape[1]))
    metric.update_real(features(n_real, "real", fake.values.shape[1]))
    metric.update_fake(fake)
    metric.compute()
    return metric


def halves(n: int, count: int = 3) -> torch.Tensor:
    return torch.stack([torch.randperm(n, generator=generator("halves", i))[: n // 2] for i in range(count)])


def numbers(scores) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in each.items()} for each in scores]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("d", [6, 90])
def test_parts_have_the_scores_that_they_have_alone(make, d, monkeypatch):
    for module in ("kernel", "neighbors"):
        monkeypatch.setattr(f"lightning_gen.metrics.{module}.BLOCK", 16)
    fake = features(44, "fake", d)
    found = numbers(filled(make, fake).compute_parts(fake, halves(44)))
    alone = numbers(FeatureMetric.compute_parts(filled(make, fake), fake, halves(44)))
    assert found == [pytest.approx(scores, rel=1e-5, abs=1e-6) for scores in alone]
    assert any(scores != alone[0] for scores in alone)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_parts_that_are_broken_or_too_few_have_no_score(make):
    broken = features(20, "fake")
    broken.values[3, 2] = math.nan
    lone = torch.tensor([[0], [1]])
    for fake, parts in ((broken, torch.arange(20)[None]), (features(20, "fake"), lone)):
        scores = numbers(filled(make, fake).compute_parts(fake, parts))
        one_is_enough = make is InceptionScore and parts is lone
        assert len(scores) == len(parts)
        assert one_is_enough or all(math.isnan(value) for each in scores for value in each.values())


@pytest.mark.parametrize(
    ("make", "work"),
    [
        (PrecisionRecall, "precision_recall.distances"),
        (DensityCoverage, "density_coverage.distances"),
        (Memorization, "memorization.nearest_distances"),
        (ALL["mifid"], "mifid.cosine_distances"),
        (ALL["kid"], "kernel._sums_of_all"),
    ],
    ids=["precision_recall", "density_coverage", "memorization", "mifid", "kid"],
)
def test_more_parts_compare_no_more_pairs(make, work, monkeypatch):
    module, name = work.split(".")
    module = importlib.import_module(f"lightning_gen.metrics.{module}")
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: calls.append(name) or function(*args))
    fake, counts = features(44, "fake", 90), set()
    for count in (4, 9):
        metric = filled(make, fake)
        calls.clear()
        list(metric.compute_parts(fake, halves(44, count)))
        counts.add(len(calls))
    assert len(counts) == 1


# Kernel distance


@pytest.mark.parametrize(("n", "m", "subsets", "size"), [(60, 50, 40, 30), (60, 50, 3, 10), (50, 50, 4, 1000)])
def test_kid_is_the_mean_of_torchmetrics_estimates(n, m, subsets, size):
    real, fake = features(n, "real").values, features(m, "fake").values
    metric = KernelDistance(subsets=subsets, subset_size=size)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    rows, columns = metric._sets(n, m)
    expected = [poly_mmd(real[row], fake[column]) for row, column in zip(rows, columns, strict=True)]
    assert metric.compute()["kid"].item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-6)


def test_kid_without_subsets_is_the_unbiased_estimate_of_sets_of_any_size():
    real, fake = (features(n, key).values.double() for n, key in ((25, "real"), (40, "fake")))
    metric = KernelDistance(subsets=0, subset_size=10)
    metric.update(real.float(), real=True)
    metric.update(fake.float(), real=False)

    def kernel(a, b):
        return (a @ b.T / 6 + 1) ** 3

    within = [(kernel(x, x).sum() - kernel(x, x).trace()) / (len(x) * (len(x) - 1)) for x in (real, fake)]
    expected = sum(within) - 2 * kernel(real, fake).mean()
    assert metric.compute()["kid"].item() == pytest.approx(expected.item(), abs=1e-6)
    assert metric.protocol() == {"subsets": 0, "kernel": "(x.y / d + 1)^3", "seed": 0}
    assert metric.real_against_real()["kid"][2] == 10


@pytest.mark.parametrize("subsets", [2, 500])  # one by one, and all together
def test_mean_kernels_of_sets(subsets, monkeypatch):
    monkeypatch.setattr("lightning_gen.metrics.kernel.MOST_SETS", 300)
    a, b = (features(n, key).values for n, key in ((30, "real"), (20, "fake")))
    rows, columns = (torch.stack([torch.randperm(n)[:8] for _ in range(subsets)]) for n in (30, 20))
    within = torch.stack([(a[row] @ a[row].T / 6 + 1).pow(3).fill_diagonal_(0).sum() / 56 for row in rows])
    pairs = zip(rows, columns, strict=True)
    across = torch.stack([(a[row] @ b[column].T / 6 + 1).pow(3).mean() for row, column in pairs])
    torch.testing.assert_close(means_within(a, rows).float(), within, rtol=1e-5, atol=0)
    torch.testing.assert_close(means_across(a, b, rows, columns).float(), across, rtol=1e-5, atol=0)
