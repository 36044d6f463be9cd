"""Scores a model by one protocol: at the end of training, during it, and by the `evaluate` command."""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from lightning_gen.config.plugins import core_version
from lightning_gen.errors import UserError
from lightning_gen.evaluation.building import build_extractors as build_extractors  # part of the contract, by this name
from lightning_gen.evaluation.building import build_metrics as build_metrics
from lightning_gen.evaluation.passes import EvaluationPasses, SeedScore
from lightning_gen.evaluation.result import (
    HALVES,
    IMAGES,
    PAIRS,
    SEEDS,
    Evaluation,
    Protocol,
    RealAgainstReal,
    Score,
    Uncertainty,
)
from lightning_gen.evaluation.sample_sources import FileSampler, ModelSampler, Sampler
from lightning_gen.extractors.extractor import Extractor, protocol_of
from lightning_gen.metrics.image_means import deviation
from lightning_gen.metrics.image_metric import (
    Direction,
    FeatureMetric,
    ImageMetric,
    ModelMetric,
    PairedMetric,
    extractors_for,
)
from lightning_gen.sampling.evaluation_mode import evaluation_mode, full_precision

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


STANDARD_ERRORS = "of means over images; of the accuracy p of n images sqrt(p (1 - p) / n)"

MANY = 20_000  # samples, above which there are fewer halves of them: of 40,000 half as many
FEWEST_HALVES = 8  # where more are wanted; the ± of 8 is itself known to 27 %, that of 20 to 16 %


@dataclass(frozen=True)
class Settings:
    """The options of an evaluation."""

    split: str = "test"
    num_samples: int | None = None  # None: as many as real images
    num_real: int | None = None  # the first images of the split; None: all
    batch_size: int = 64
    seed: int = 0
    seeds: int = 1  # consecutive, from `seed` on; scores are means over them
    half_samples: int = 0  # random halves of the samples for the standard error of a single seed; below 2: none
    ema: bool = True  # averaged weights, where the model has them


def evaluate(
    model: "ImageGenerator | None",
    data: "ImageData",
    metrics: Mapping[str, ImageMetric],
    extractors: Mapping[str, Extractor],
    *,
    files: "ImageData | None" = None,
    device: torch.device | str | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Evaluation:
    """Score `model` against a split of `data`, with the fields of `Settings` as keyword arguments.

    Without a model the training images of `files` are the samples (`num_samples=None`: all of them). Unavailable
    metrics are in `skipped`, with the reason. All ranks of a distributed run must call it. Features of real images are
    cached on disk; random generators and the model are left unchanged. Raises UserError if data and model don't match.
    """
    start = time.perf_counter()
    chosen = Settings(**settings)
    n_real, n_fake = _numbers(model, data, files, chosen)
    reasons = {
        name: metric.why_unavailable(model, files, data, extractors_for(name, metric, extractors))
        or _why_no_labels(metric, model, data, chosen.split)
        for name, metric in metrics.items()
    }
    available = {name: metric for name, metric in metrics.items() if reasons[name] is None}
    device = torch.device(device or ("cpu" if model is None else model.device))
    options = {"split": chosen.split, "batch_size": chosen.batch_size, "device": device, "show_progress": show_progress}
    passes = EvaluationPasses(model, data, available, extractors, n_real=n_real, n_fake=n_fake, **options)
    with full_precision() if model is None else evaluation_mode(model, chosen.ema):
        scores = _scores(passes, files, chosen)
        floors = {
            name: RealAgainstReal(value, images, Uncertainty(std, PAIRS))
            for name, (value, std, images) in passes.real_against_real().items()
        }
    return Evaluation(
        scores=scores,
        real_against_real=floors,
        curves=passes.curves,
        tables=passes.tables,
        pictures=passes.pictures,
        protocol=_protocol(passes, files, chosen, scores),
        skipped={name: reason for name, reason in reasons.items() if reason} | passes.skipped,
        warnings=_warnings(scores, passes) + _label_warnings(passes),
        broken_samples=passes.broken_samples,
        seconds=round(time.perf_counter() - start, 3),
        time=datetime.now().isoformat(timespec="seconds"),
    )


def check_evaluation(
    model: "ImageGenerator",
    data: "ImageData",
    metrics: Mapping[str, ImageMetric],
    extractors: Mapping[str, Extractor],
    **settings: Any,
) -> list[str]:
    """Raise the UserErrors of `evaluate` that are known before any work; lines about scores that there won't be."""
    chosen = Settings(**settings)
    images = min(_numbers(model, data, None, chosen))
    reasons = {
        name: metric.why_unavailable(model, None, data, extractors_for(name, metric, extractors))
        for name, metric in metrics.items()
    }
    if all(reasons.values()):
        return [f"metrics.{name}: {reason}: no score" for name, reason in reasons.items()]
    lines = []
    for name, metric in metrics.items():
        if reasons[name]:
            continue
        if images < metric.min_images:
            few = f"needs {metric.min_images} images, and there are {images}"
            lines.append(f"metrics.{name}: {few} (split={chosen.split}): no score")
        elif reason := _why_no_labels(metric, model, data, chosen.split):
            lines.append(f"metrics.{name}: {reason}: no score")
    return lines


def _numbers(
    model: "ImageGenerator | None", data: "ImageData", files: "ImageData | None", settings: Settings
) -> tuple[int, int]:
    """The numbers of real images and of samples. UserError if they are too few, or data and samples don't match."""
    n_real = _num_real(data, settings.split, settings.num_real)
    n_fake = _num_fake(files, n_real, settings.num_samples)
    _check_match(files if model is None else model, data)
    return n_real, n_fake


def _why_no_labels(metric: ImageMetric, model: "ImageGenerator | None", data: "ImageData", split: str) -> str | None:
    """Why a metric can't do without the labels that a split lacks, though the training images have them."""
    conditional = model is not None and model.num_classes is not None
    needed = metric.needs_labels or (conditional and isinstance(metric, PairedMetric))
    missing = needed and data.num_classes is not None and not data.has_labels(split)
    return f"needs labels, and the images of split={split} have none" if missing else None


def score_names(
    model: "ImageGenerator", data: "ImageData", metrics: Mapping[str, ImageMetric], extractors: Mapping[str, Extractor]
) -> list[str]:
    """The scores that `evaluate` can give; it leaves out some, such as those of a kind of likelihood."""
    return list(score_directions(model, data, metrics, extractors))


def score_directions(
    model: "ImageGenerator", data: "ImageData", metrics: Mapping[str, ImageMetric], extractors: Mapping[str, Extractor]
) -> dict[str, Direction]:
    """For each of these scores whether lower or higher is better."""
    directions: dict[str, Direction] = {}
    for key, metric in metrics.items():
        own = extractors_for(key, metric, extractors)
        if metric.why_unavailable(model, None, data, own):
            continue
        of_features = isinstance(metric, FeatureMetric | ModelMetric)
        for name, direction in metric.better.items():
            names = [extractor.score_name(name) for extractor in own.values()] if of_features else [name]
            directions |= dict.fromkeys(names, direction)
    return directions


def _num_real(data: "ImageData", split: str, limit: int | None) -> int:
    data.check_split(split)
    if limit is not None and limit < 2:
        raise UserError(f"num_real={limit}: give at least 2, or null for all")
    count = data.split_sizes[split]
    if count < 2:
        fix = data.fix_for(split)
        raise UserError(
            f"split={split}: data={data.name} has {count} in it, a comparison needs at least 2 images: {fix}"
        )
    return count if limit is None else min(limit, count)


def _num_fake(files: "ImageData | None", n_real: int, num_samples: int | None) -> int:
    available = n_real if files is None else files.split_sizes["train"]
    count = available if num_samples is None else num_samples
    if files is not None and count > available:
        raise UserError(f"num_samples={count}: samples={files.name} holds only {available} images")
    if count < 2:
        raise UserError(f"num_samples={count}: a comparison needs at least 2, or null for as many as real images")
    return count


def _check_match(source: "ImageGenerator | ImageData | None", data: "ImageData") -> None:
    if source is None:
        raise ValueError("evaluate needs a model or files")
    data.check_shape(source.image_shape, "the samples are")
    if None not in (source.num_classes, data.num_classes) and source.num_classes != data.num_classes:
        raise UserError(f"data={data.name}: has {data.num_classes} classes, the samples {source.num_classes}")


def _scores(passes: EvaluationPasses, files: "ImageData | None", settings: Settings) -> dict[str, Score]:
    """The mean scores over all seeds, each with its uncertainty."""
    passes.update_real()
    seeds = range(settings.seed, settings.seed + settings.seeds)
    runs = [passes.score(_sampler(passes, files, seed), seed) for seed in seeds]
    halves: dict[str, float] = {}
    if settings.half_samples > 1 and settings.seeds == 1:
        halves = passes.half_sample_deviations(_draws(passes, settings), settings.seed)
    return {name: _score([run[name] for run in runs], halves.get(name)) for name in runs[0]}


def _draws(passes: EvaluationPasses, settings: Settings) -> int:
    """The number of halves: fewer of many samples, so that together they do not hold more."""
    wanted = settings.half_samples
    return min(wanted, max(FEWEST_HALVES, wanted * MANY // max(passes.n_fake, MANY)))


def _sampler(passes: EvaluationPasses, files: "ImageData | None", seed: int) -> Sampler:
    if passes.model is not None:
        return ModelSampler(passes.model, passes.data, passes.split, passes.n_fake, seed)
    assert files is not None  # by _check_match
    return FileSampler(files, "train", passes.device)


def _score(scores: list[SeedScore], half_sample_deviation: float | None) -> Score:
    """One score from its values for several seeds."""
    values = [score.value for score in scores]
    return Score(
        value=statistics.fmean(values),
        direction=scores[0].direction,
        origin=scores[0].origin,
        uncertainty=_uncertainty(scores, half_sample_deviation),
        per_seed=values if len(values) > 1 else [],
    )


def _uncertainty(scores: list[SeedScore], half_sample_deviation: float | None) -> Uncertainty | None:
    if len(scores) > 1:
        std, over = deviation([score.value for score in scores]), SEEDS
    elif half_sample_deviation is not None:
        std, over = half_sample_deviation, HALVES
    else:
        std, over = scores[0].error, IMAGES
    return None if std is None else Uncertainty(std, over)


def _protocol(
    passes: EvaluationPasses, files: "ImageData | None", settings: Settings, scores: Mapping[str, Score]
) -> Protocol:
    model, data = passes.model, passes.data
    varied = {score.uncertainty.over for score in scores.values() if score.uncertainty}
    return Protocol(
        data=data.name,
        split=settings.split,
        images=passes.images,
        binarize=data.binarize,
        n_real=passes.n_real,
        n_fake=passes.n_fake if passes.draws_samples else 0,
        samples=files.name if files else "model",
        extractors={key: protocol_of(extractor, data.image_shape) for key, extractor in passes.extractors.items()},
        metrics=passes.settings,
        seed=settings.seed,
        seeds=settings.seeds,
        half_samples=_draws(passes, settings) if HALVES in varied else 0,
        standard_errors=STANDARD_ERRORS if IMAGES in varied else None,
        batch_size=settings.batch_size,
        ema=bool(settings.ema and model and model.ema_decay),
        precision="IEEE float32",
        images_seen=None if model is None else model.images_seen,
        versions=_versions(),
    )


def _warnings(scores: Mapping[str, Score], passes: EvaluationPasses) -> list[str]:
    broken = {name: score for name, score in scores.items() if not math.isfinite(score.value)}
    return [f"{name} is {score.value}: {_why_not_finite(name, score, passes)}" for name, score in broken.items()]


def _why_not_finite(name: str, score: Score, passes: EvaluationPasses) -> str:
    if score.value > 0 and "psnr" in name:
        return "every reconstruction is exact"
    if not score.origin.of_samples:
        return "the model's output is not finite"
    if passes.broken_samples:
        return f"NaN or infinity in {passes.broken_samples} of the samples"
    return f"undefined for {passes.n_real} real images and {passes.n_fake} samples, which are too few"


def _label_warnings(passes: EvaluationPasses) -> list[str]:
    model, data = passes.model, passes.data
    if model is None or model.num_classes is None or not passes.draws_samples or data.num_classes is None:
        return []
    borrowed = f"split={passes.split} has no labels: samples have the classes of the training images, in proportion"
    return [] if data.has_labels(passes.split) else [borrowed]


def _versions() -> dict[str, str]:
    versions = {"lightning_gen": core_version()}
    for package in ("torch", "torchmetrics", "timm"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
