"""Trials before a run of what is not ours: a plugin's model or metric that breaks the contract is told at once.

They take a few images, and leave random generators as they were.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.loader import EvaluationBatches
from lightning_gen.errors import UserError, named_failure
from lightning_gen.evaluation.building import scores_of
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import (
    FeatureMetric,
    ImageMetric,
    ModelMetric,
    PairedMetric,
    RealAndSampleMetric,
    SampleMetric,
    extractors_for,
)
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.utilities.compat import state_default, state_names, without_sync
from lightning_gen.utilities.foreign import is_foreign

OURS = ("lightning_gen.", "torch.")
IMAGES = 8  # that a metric is tried on, if it needs no more


def try_model(config: Mapping[str, Any], model: ImageGenerator, data: ImageData) -> None:
    """Compute the losses of two training images, and two samples, if any class in the model's config is not ours.

    UserError for what fails, or has the wrong type or shape. Draws nothing that needs a trainer.
    """
    foreign = [target for target in _targets(config) if not target.startswith(OURS)]
    if not foreign:
        return
    what = f"model ({', '.join(dict.fromkeys(foreign))})"
    try:
        with named_failure(what), evaluation_mode(model):
            batch = _batch(data, "train", 2)
            _check_losses(model.losses(batch), model.validation_loss, what)
            _check_adversarial_loss(getattr(model, "loss", None), model.device)
            if is_foreign(model) and model.generates:
                _check_samples(model.sample(2, model.draw_labels(2)), model, what)
    except UserError as error:
        if "attached to a `Trainer`" not in str(error):  # which there is not yet
            raise


def _targets(config: Any) -> Iterator[str]:
    """All `_target_`s in a config."""
    members = config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ()
    if isinstance(config, Mapping) and "_target_" in config:
        yield config["_target_"]
    for member in members:
        yield from _targets(member)


def _check_losses(losses: Any, validation_loss: bool, what: str) -> None:
    if not isinstance(losses, Mapping):
        raise UserError(f"{what}: losses() gives a {type(losses).__name__}; give a dictionary of scalar tensors")
    if validation_loss and "loss" not in losses:
        raise UserError(f"{what}: losses() has no `loss`, which is minimized; it has {', '.join(losses) or 'nothing'}")
    for name, value in losses.items():
        if not isinstance(value, Tensor) or value.ndim:
            given = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(f"{what}: {name} of losses() is {given}; give a scalar tensor")


def _check_adversarial_loss(loss: Any, device: torch.device) -> None:
    """UserError for a GAN's loss that needs real images for the generator, which in training it does not get."""
    if not is_foreign(loss) or not hasattr(loss, "generator") or getattr(loss, "relativistic", False):
        return
    try:
        loss.generator(None, torch.zeros(2, device=device))
    except Exception as error:
        fix = "if it needs the logits of real images, set relativistic = True; LIGHTNING_GEN_TRACEBACK=1 shows where"
        why = f"generator() fails with real=None, which it gets in training: {type(error).__name__}"
        raise UserError(f"model.loss: {type(loss).__name__}.{why}; {fix}") from error


def _check_samples(images: Any, model: ImageGenerator, what: str) -> None:
    shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
    expected = (2, *model.image_shape)
    if shape != expected:
        raise UserError(f"{what}: sample(2) gives {shape}; give images {expected}")


def try_metrics(
    metrics: Mapping[str, ImageMetric],
    extractors: Mapping[str, Extractor],
    model: ImageGenerator,
    data: ImageData,
    split: str,
) -> None:
    """Compute the scores of each metric that is not ours, of a few real images in place of samples.

    UserError for what fails, or gives anything but scores with a direction. A `ModelMetric` is not tried.
    """
    for name, metric in metrics.items():
        own = extractors_for(name, metric, extractors)
        images = max(IMAGES, metric.min_images)
        if not is_foreign(metric) or not metric.quick or images > data.split_sizes[split]:
            continue
        if metric.why_unavailable(model, None, data, own):
            continue
        with named_failure(f"metrics.{name}: {type(metric).__name__}"), evaluation_mode(model):
            trial = copy.deepcopy(metric, {id(each): each for each in own.values()})
            without_sync(trial)
            if _update(trial, model, own, data, split, images):
                scores_of(name, trial)


def _update(
    metric: ImageMetric, model: ImageGenerator, own: Mapping[str, Extractor], data: ImageData, split: str, n: int
) -> bool:
    """Update a metric as an evaluation does; False if it is not known how."""
    if isinstance(metric, FeatureMetric):
        return _update_features(metric, own, data, n)
    batch = _batch(data, split, n)
    labels = batch.labels if model.num_classes is not None else None
    metric.start(data, split)
    if isinstance(metric, SampleMetric):
        metric.update(batch.images, labels)
    elif isinstance(metric, RealAndSampleMetric):
        metric.update(batch.images, batch.labels, real=True)
        _check_real_states(metric)
        metric.update(batch.images, labels, real=False)
    elif isinstance(metric, PairedMetric):
        metric.update_from(model, batch)
    return not isinstance(metric, ModelMetric)


def _update_features(metric: FeatureMetric, own: Mapping[str, Extractor], data: ImageData, n: int) -> bool:
    for extractor in own.values():
        if extractor.why_not(data.image_shape) is None and metric.why_not_with(extractor) is None:
            features = Features(torch.rand(n, extractor.num_features), None, extractor)
            if metric.needs_training_set:
                metric.update_training_set(features)
            metric.update_real(features)
            _check_real_states(metric)
            metric.update_fake(features)
            return True
    return False


def _check_real_states(metric: ImageMetric) -> None:
    """ValueError for a state of real images, the only ones so far, that would be reset with those of the samples."""
    for name in state_names(metric):
        state = getattr(metric, name)
        changed = bool(state) if isinstance(state, list) else not torch.equal(state, state_default(metric, name))
        if changed and not name.startswith("real_"):
            raise ValueError(f"real images change the state `{name}`; name it `real_{name}` to keep it for all samples")


def _batch(data: ImageData, split: str, n: int) -> Batch:
    """The first `n` images of a split, on the CPU."""
    return next(iter(EvaluationBatches(data.sources[split], batch_size=n, limit=n, binarize=data.binarize)))
