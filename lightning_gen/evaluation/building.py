"""Metrics and extractors of a config: what a class of a plugin lacks is told in one line, before any work."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_gen.config.instantiation import instantiate
from lightning_gen.errors import UserError, named_failure
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.image_metric import (
    FeatureMetric,
    ImageMetric,
    ModelMetric,
    PairedMetric,
    RealAndSampleMetric,
    SampleMetric,
    extractors_for,
)
from lightning_gen.utilities.foreign import is_foreign
from lightning_gen.utilities.suggestions import closest

# The kinds of metrics, and the method that each must have.
KINDS: dict[type[ImageMetric], str] = {
    FeatureMetric: "update",
    SampleMetric: "update",
    RealAndSampleMetric: "update",
    PairedMetric: "update_from",
    ModelMetric: "measure",
}
OWN = "own_extractor"  # the attribute of a metric that brings an extractor
TRIED_SIZE = 64  # pixels a side of the black images that an extractor is tried on


def build_metrics(config: Mapping[str, Any] | None) -> dict[str, ImageMetric]:
    """The metrics of a config's `metrics`, by name, without those that are null. UserError for what one lacks."""
    metrics = {name: instantiate(metric) for name, metric in (config or {}).items() if metric}
    for name, metric in metrics.items():
        _check_metric(metric, f"metrics.{name}")
        for key, extractor in extractors_for(name, metric, {}).items():
            check_extractor(extractor, f"{key}.{OWN}")
    return metrics


def _check_metric(metric: Any, key: str) -> None:
    kind = type(metric).__name__
    base = next((base for base in KINDS if isinstance(metric, base)), None)
    if base is None:
        names = ", ".join(base.__name__ for base in KINDS)
        raise UserError(f"{key}: {kind} is no ImageMetric; extend one of its subclasses, {names}")
    for attribute in ("needs", "better"):
        if not hasattr(metric, attribute):
            raise UserError(f"{key}: {kind} has no `{attribute}`; set it, as ImageMetric describes")
    for method in (KINDS[base], "compute"):
        if getattr(type(metric), method) is getattr(base, method):
            raise UserError(f"{key}: {kind} has no method `{method}`; implement it, as {base.__name__} describes")
    for name, part in metric.named_children():
        if isinstance(part, Extractor) and name != OWN and closest(name, [OWN]):
            raise UserError(f"{key}: {kind} has an extractor named `{name}`, which is not used; name it `{OWN}`")
    directions = metric.better.values() if isinstance(metric.better, Mapping) else [None]
    if not all(direction in ("lower", "higher") for direction in directions):
        fix = 'map each score to "lower" or "higher"'
        raise UserError(f"{key}: `better` of {kind} is {metric.better!r}; {fix}")


def scores_of(name: str, metric: ImageMetric) -> dict[str, float]:
    """What `compute` gives, as numbers. UserError as from `numbers_of`."""
    return numbers_of(name, metric, metric.compute())


def numbers_of(name: str, metric: ImageMetric, values: Any) -> dict[str, float]:
    """Scores as numbers. UserError for what is no dictionary of scalars, each with a direction in `better`."""
    if not isinstance(values, Mapping):
        raise UserError(f"metrics.{name}: compute() gives a {type(values).__name__}, not a dictionary of scores")
    for score, value in values.items():
        if score not in metric.better:
            raise UserError(f"metrics.{name}: compute() gives {score}, which `better` lacks; add its direction there")
        if isinstance(value, Tensor) and value.numel() != 1:
            shape = tuple(value.shape)
            raise UserError(f"metrics.{name}: compute() gives {score} of shape {shape}; scores are scalars")
    return {score: value.item() if isinstance(value, Tensor) else value for score, value in values.items()}


def build_extractors(
    config: Mapping[str, Any] | None, metrics: Mapping[str, ImageMetric] | None = None
) -> dict[str, Extractor]:
    """The extractors of a config's `extractor`, by name; none for `extractor=none`, or if no metric uses them.

    Raises UserError if two of them share a name: their scores would too.
    """
    if metrics is not None and not any(_uses_chosen(name, metric) for name, metric in metrics.items()):
        return {}
    extractors = {key: instantiate(extractor) for key, extractor in (config or {}).items() if extractor}
    for key, extractor in extractors.items():
        check_extractor(extractor, f"extractor.{key}")
    names = [extractor.name for extractor in extractors.values()]
    for key, extractor in extractors.items():
        if names.count(extractor.name) > 1:
            raise UserError(f"extractor.{key}: another extractor is called {extractor.name} too; leave one out")
    return extractors


def _uses_chosen(name: str, metric: ImageMetric) -> bool:
    return isinstance(metric, FeatureMetric | ModelMetric) and not extractors_for(name, metric, {})


def check_extractor(extractor: Any, key: str) -> None:
    """UserError for what an extractor lacks; one that is not ours is tried on black images."""
    kind = type(extractor).__name__
    if not isinstance(extractor, Extractor):
        raise UserError(f"{key}: {kind} is no Extractor; extend lightning_gen.extractors.extractor.Extractor")
    for attribute, expected in {"name": str, "num_features": int}.items():
        if not isinstance(getattr(extractor, attribute, None), expected):
            raise UserError(f"{key}: {kind} has no `{attribute}`; set it to a value of type {expected.__name__}")
    if is_foreign(extractor):
        with named_failure(f"{key}: {kind}"):
            _try(extractor, f"{key}: {kind}")


def _try(extractor: Extractor, what: str) -> None:
    protocol = extractor.protocol()
    json.dumps(protocol)  # goes to evaluation.json
    shape = (3, TRIED_SIZE, TRIED_SIZE)
    shape = (8, *shape) if extractor.takes_clips else shape
    if extractor.why_not(shape) is None:
        features = extractor(torch.zeros(2, *shape, dtype=torch.uint8))
        expected = (2, extractor.num_features)
        if tuple(features.shape) != expected:
            given = f"features of 2 images are {tuple(features.shape)}"
            raise UserError(f"{what}: {given}, not {expected}; fix `features` or `num_features`")
