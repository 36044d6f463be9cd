"""Scores a model with one protocol: at the end of training, during it, and by the `evaluate` command."""

import math
import statistics
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from lightning_gen.config.instantiation import instantiate
from lightning_gen.config.plugins import core_version
from lightning_gen.errors import UserError
from lightning_gen.evaluation.passes import Score, Scoring
from lightning_gen.evaluation.sample_sources import FileSampler, ModelSampler
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import MODES
from lightning_gen.metrics.image_means import deviation
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.sampling.evaluation_mode import evaluation_mode, full_precision
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


SMALLEST = 4  # pixels a side of images that say something to an extractor


def evaluate(
    model: "ImageGenerator | None",
    data: "ImageData",
    metrics: Mapping[str, ImageMetric],
    extractors: Mapping[str, Extractor],
    *,
    split: str = "test",
    num_samples: int | None = None,
    num_real: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    seeds: int = 1,
    half_samples: int = 0,
    ema: bool = True,
    device: torch.device | str | None = None,
    show_progress: bool = True,
    files: "ImageData | None" = None,
) -> dict[str, Any]:
    """Score `model` against a split of `data`: scores by name, how sure they are, their protocol, and more.

    Looks at the first `num_real` real images (None: all), and draws `num_samples` (None: as many) in batches of
    `batch_size`. With several `seeds`, from `seed` on, scores are means over them, and `uncertainty` their standard
    deviation; with one, it is a standard error from `half_samples` random halves of the samples. Without a model the
    training images of `files` are the samples (None: all of them).
    `skipped` gives the reason for each metric that can't be had. Every process of a distributed run must call it.
    Features of real images are kept on disk. Random generators and the model are left as they were. Raises UserError if
    data and model don't fit each other.
    """
    start = time.perf_counter()
    n_real = _num_real(data, split, num_real)
    n_fake = _num_fake(files, n_real, num_samples)
    _check(model or files, data, n_fake)
    reasons = {name: _why_not(metric, model, files, data, extractors) for name, metric in metrics.items()}
    usable = {name: metric for name, metric in metrics.items() if reasons[name] is None}
    device = torch.device(device or (model.device if model else "cpu"))
    scoring = Scoring(
        *(model, data, usable, extractors),
        split=split,
        n_real=n_real,
        n_fake=n_fake,
        batch_size=batch_size,
        device=device,
        show_progress=show_progress,
    )
    with evaluation_mode(model, ema) if model else full_precision():
        scoring.real_pass()
        runs = []
        for number in range(seed, seed + seeds):
            sampler = ModelSampler(model, data, split, n_fake, number) if model else FileSampler(files, "train", device)
            runs.append(scoring.run(sampler, number))
        halves = scoring.half_samples(half_samples, seed) if half_samples > 1 and seeds == 1 else {}
    scores = {name: statistics.fmean(run[name].value for run in runs) for name in runs[0]}
    return {
        "scores": scores,
        "better": {name: score.better for name, score in runs[0].items()},
        "uncertainty": _uncertainty(runs, halves),
        "seeds": {name: [run[name].value for run in runs] for name in scores} if seeds > 1 else {},
        "origin": {name: _origin(score, usable[score.metric], split) for name, score in runs[0].items()},
        "curves": scoring.curves,
        "protocol": {
            "data": data.name,
            "split": split,
            "images": scoring.images,
            "binarize": data.binarize,
            "n_real": n_real,
            "n_fake": n_fake if scoring.draws else 0,
            "samples": files.name if files else "model",
            "extractors": {key: extractor.protocol() for key, extractor in scoring.extractors.items()},
            "metrics": scoring.settings,
            "seed": seed,
            "seeds": seeds,
            "half_samples": half_samples if halves else 0,
            "batch_size": batch_size,
            "ema": bool(ema and model and model.ema_decay),
            "images_seen": model.images_seen if model else None,
            "versions": _versions(),
        },
        "skipped": {name: reason for name, reason in reasons.items() if reason} | scoring.skipped,
        "warnings": _warnings(scores),
        "seconds": round(time.perf_counter() - start, 3),
        "time": datetime.now().isoformat(timespec="seconds"),
    }


def _origin(score: Score, metric: ImageMetric, split: str) -> dict[str, Any]:
    """What compare needs to know of a score."""
    splits = [split, "train"] if getattr(metric, "needs_training_set", False) else [split]
    of_samples = metric.needs in ("features", "samples")
    return {"metric": score.metric, "extractor": score.extractor, "of_samples": of_samples, "splits": splits}


def _uncertainty(runs: list[dict[str, Score]], halves: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Of each score that has one: its standard deviation, and what it is that varies."""
    if len(runs) > 1:
        stds = {name: deviation([run[name].value for run in runs]) for name in runs[0]}
        return {name: {"std": std, "over": "seeds"} for name, std in stds.items() if std is not None}
    errors = {name: score.error for name, score in runs[0].items() if score.error is not None}
    return {name: {"std": std, "over": "images"} for name, std in errors.items()} | {
        name: {"std": std, "over": "halves of the samples"} for name, std in halves.items()
    }


def _num_fake(files: "ImageData | None", n_real: int, num_samples: int | None) -> int:
    if files is None:
        return n_real if num_samples is None else num_samples
    there = files.split_sizes["train"]
    if num_samples is not None and num_samples > there:
        raise UserError(f"num_samples={num_samples}: samples={files.name} holds only {there} images")
    return there if num_samples is None else num_samples


def _num_real(data: "ImageData", split: str, limit: int | None) -> int:
    if split not in data.split_sizes:
        fix = did_you_mean(split, data.split_sizes) or f", give one of {', '.join(data.split_sizes)}"
        raise UserError(f"split={split}: no such split{fix}")
    if limit is not None and limit < 2:
        raise UserError(f"num_real={limit}: give at least 2, or null for all")
    count = data.split_sizes[split]
    if count < 2:
        raise UserError(f"split={split}: data={data.name} has {count} images in it, a comparison needs at least 2")
    return count if limit is None else min(limit, count)


def _check(source: "ImageGenerator | ImageData", data: "ImageData", n_fake: int) -> None:
    if n_fake < 2:
        raise UserError(f"num_samples={n_fake}: a comparison needs at least 2, or null for as many as real images")
    ours, theirs = tuple(source.image_shape), tuple(data.image_shape)
    if ours != theirs:
        raise UserError(f"data={data.name}: images are {theirs}, the samples {ours}; give data of that shape")
    if None not in (source.num_classes, data.num_classes) and source.num_classes != data.num_classes:
        raise UserError(f"data={data.name}: has {data.num_classes} classes, the samples {source.num_classes}")


def _why_not(
    metric: ImageMetric,
    model: "ImageGenerator | None",
    files: "ImageData | None",
    data: "ImageData",
    extractors: Mapping[str, Extractor],
) -> str | None:
    """Why a metric can't be had, or None."""
    name = type(model).__name__
    reason = None
    if metric.needs in ("features", "model"):
        reason = _why_no_features(data.image_shape, extractors)
    if metric.needs in ("features", "samples", "model"):
        if model is not None and not model.generates:
            return f"{name} makes no images"
        if model is None and metric.needs == "model":
            return "needs a model, and files were given"
    elif model is None:
        return "needs a model, and files were given"
    elif not hasattr(model, metric.needs):
        return f"{name} has no {metric.needs}"
    elif model.num_classes and data.num_classes is None:
        return f"the model needs labels, and data={data.name} has none"
    return reason or metric.why_not(model or files, data)


def _why_no_features(image_shape: tuple[int, ...], extractors: Mapping[str, Extractor]) -> str | None:
    channels, height, width = image_shape[-3:]
    if not extractors:
        return "needs an extractor, and there is none (extractor=none)"
    if channels not in MODES:
        return f"extractors take 1, 3 or 4 channels, not {channels}"
    if min(height, width) < SMALLEST:
        return f"extractors take images from {SMALLEST} pixels a side, not {height}x{width}"
    return None


def _warnings(scores: dict[str, float]) -> list[str]:
    reason = "the model's output is not finite, or there are too few images"
    exact = "every reconstruction is exact"
    broken = {name: value for name, value in scores.items() if not math.isfinite(value)}
    texts = {name: exact if value > 0 and "psnr" in name else reason for name, value in broken.items()}
    return [f"{name} is {value}: {texts[name]}" for name, value in broken.items()]


def _versions() -> dict[str, str]:
    versions = {"lightning_gen": core_version()}
    for package in ("torch", "torchmetrics", "timm"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def build_metrics(config: Mapping[str, Any] | None) -> dict[str, ImageMetric]:
    """The metrics of a config's `metrics`, by name; those that are null are left out."""
    return {name: instantiate(metric) for name, metric in (config or {}).items() if metric}


def build_extractors(
    config: Mapping[str, Any] | None, metrics: Mapping[str, ImageMetric] | None = None
) -> dict[str, Extractor]:
    """The extractors of a config's `extractor`, by name; none for `extractor=none`, or if no metric has a use for any.

    UserError if two of them go by one name: their scores could not be told apart.
    """
    if metrics is not None and not any(metric.needs in ("features", "model") for metric in metrics.values()):
        return {}
    found = {key: instantiate(extractor) for key, extractor in (config or {}).items() if extractor}
    names = [extractor.name for extractor in found.values()]
    for key, extractor in found.items():
        if names.count(extractor.name) > 1:
            raise UserError(f"extractor.{key}: another extractor is called {extractor.name} too; leave one out")
    return found
