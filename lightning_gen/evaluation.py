"""Scores a model with one protocol: at the end of training, during it, and by the `evaluate` command."""

import math
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig

from lightning_gen.build import build_data
from lightning_gen.checkpoint_commands import data_config, load, run_folder
from lightning_gen.config import instantiate
from lightning_gen.errors import UserError
from lightning_gen.evaluation_report import check_readable, print_table, save_evaluation
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import MODES
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.plugins import core_version
from lightning_gen.scoring import Scoring
from lightning_gen.suggestions import did_you_mean
from lightning_gen.undisturbed import undisturbed

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


SMALLEST = 4  # pixels a side of images that say something to an extractor


def evaluate(
    model: "ImageGenerator",
    data: "ImageData",
    metrics: Mapping[str, ImageMetric],
    extractor: Extractor | None,
    *,
    split: str = "test",
    num_samples: int | None = None,
    num_real: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    ema: bool = True,
    device: torch.device | str | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Score `model` against a split of `data`: scores by name, which direction is better, protocol, and more.

    Looks at the first `num_real` real images (None: all), and draws `num_samples` (None: as many) in batches of
    `batch_size`. `skipped` gives the reason for each metric that can't be had. Every process of a distributed run must
    call it. Called again with the same metrics, data and extractor, it extracts no features of real images again.
    Random generators and the model are left as they were. Raises UserError if data and model don't fit each other.
    """
    start = time.perf_counter()
    n_real = _num_real(data, split, num_real)
    n_fake = n_real if num_samples is None else num_samples
    _check(model, data, n_fake)
    reasons = {name: _why_not(metric, model, data, extractor) for name, metric in metrics.items()}
    usable = {name: metric for name, metric in metrics.items() if reasons[name] is None}
    device = torch.device(device or model.device)
    scoring = Scoring(model, data, usable, extractor, split, n_real, seed, device, show_progress)
    with undisturbed(model, ema):
        scoring.real_pass()
        scoring.fake_pass(n_fake, batch_size)
        scores = scoring.scores()
    return {
        "scores": scores,
        "better": scoring.better,
        "curves": scoring.curves(),
        "protocol": {
            "data": data.name,
            "split": split,
            "binarize": data.binarize,
            "n_real": n_real,
            "n_fake": n_fake if scoring.draws else 0,
            "extractor": extractor.protocol() if scoring.compared else None,
            "metrics": scoring.settings(),
            "seed": seed,
            "sample_batch_size": batch_size,
            "ema": bool(ema and model.ema_decay),
            "images_seen": model.images_seen,
            "versions": _versions(),
        },
        "skipped": {name: reason for name, reason in reasons.items() if reason},
        "warnings": _warnings(scores),
        "seconds": round(time.perf_counter() - start, 3),
        "time": datetime.now().isoformat(timespec="seconds"),
    }


def _num_real(data: "ImageData", split: str, limit: int | None) -> int:
    if split not in data.num_images:
        mend = did_you_mean(split, data.num_images) or f", give one of {', '.join(data.num_images)}"
        raise UserError(f"split={split}: no such split{mend}")
    if limit is not None and limit < 2:
        raise UserError(f"num_real={limit}: give at least 2, or null for all")
    count = data.num_images[split]
    if count < 2:
        raise UserError(f"split={split}: data={data.name} has {count} images in it, a comparison needs at least 2")
    return count if limit is None else min(limit, count)


def _check(model: "ImageGenerator", data: "ImageData", n_fake: int) -> None:
    if n_fake < 2:
        raise UserError(f"num_samples={n_fake}: a comparison needs at least 2, or null for as many as real images")
    ours, theirs = tuple(model.image_shape), tuple(data.image_shape)
    if ours != theirs:
        raise UserError(f"data={data.name}: images are {theirs}, the model makes {ours}; give data of that shape")
    if None not in (model.num_classes, data.num_classes) and model.num_classes != data.num_classes:
        raise UserError(f"data={data.name}: has {data.num_classes} classes, the model {model.num_classes}")


def _why_not(
    metric: ImageMetric, model: "ImageGenerator", data: "ImageData", extractor: Extractor | None
) -> str | None:
    """Why a metric can't be had, or None."""
    if metric.needs in ("features", "samples"):
        if not model.generates:
            return f"{type(model).__name__} makes no images"
        reason = _why_no_features(model.image_shape, extractor) if metric.needs == "features" else None
    elif not hasattr(model, metric.needs):
        reason = f"{type(model).__name__} has no {metric.needs}"
    elif model.num_classes and data.num_classes is None:
        reason = f"the model needs labels, and data={data.name} has none"
    else:
        reason = None
    return reason or metric.why_not(model, data)


def _why_no_features(image_shape: tuple[int, ...], extractor: Extractor | None) -> str | None:
    channels, height, width = image_shape[-3:]
    if extractor is None:
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


def build_extractor(
    config: Mapping[str, Any] | None, metrics: Mapping[str, ImageMetric] | None = None
) -> Extractor | None:
    """The extractor of a config's `extractor`; None for `extractor=none`, or if no metric has a use for it."""
    useless = metrics is not None and all(metric.needs != "features" for metric in metrics.values())
    return instantiate(config) if config and not useless else None


def evaluate_command(cfg: DictConfig) -> None:
    """Score a checkpoint, add the result to the run's evaluation.json (or to `out`), and print it as a table."""
    if cfg.batch_size < 1:
        raise UserError(f"batch_size={cfg.batch_size}: give at least 1")
    path, model = load(cfg)
    out = _out(cfg.out, path)
    data = build_data(data_config(cfg, path))
    metrics = build_metrics(cfg.metrics)
    result = evaluate(
        model,
        data,
        metrics,
        build_extractor(cfg.extractor, metrics),
        split=cfg.split,
        num_samples=cfg.num_samples,
        num_real=cfg.num_real,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        ema=cfg.ema,
    )
    save_evaluation({"checkpoint": path.name, **result}, out)
    print_table(result)
    print(f"added to {out}")


def _out(out: str | None, checkpoint: Path) -> Path:
    path = run_folder(checkpoint) / "evaluation.json" if out is None else Path(out).expanduser()
    path = path / "evaluation.json" if path.is_dir() else path
    check_readable(path)  # before the work, not after it
    return path
