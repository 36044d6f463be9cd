"""What is known before a training to go wrong after it: splits, scores and labels that there won't be."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from lightning_gen.batch import Batch
from lightning_gen.config.containers import as_dict
from lightning_gen.config.options import list_options
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import check_evaluation, score_names
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Bernoulli
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.training.trials import try_metrics, try_model
from lightning_gen.utilities.hardware import computes_in_bfloat16
from lightning_gen.utilities.suggestions import did_you_mean

OWN_CALLBACKS = ("lightning_gen.callbacks.", "lightning.pytorch.callbacks.")  # others may log anything


def check_before(
    config: DictConfig,
    model: ImageGenerator,
    data: ImageData,
    metrics: Mapping[str, ImageMetric],
    extractors: Mapping[str, Extractor],
) -> list[str]:
    """UserError for what would end in one after the training; lines about scores that will be left out."""
    split = config.evaluation.split
    if metrics and split not in data.sources:
        raise UserError(f"evaluation.split={split}: no such split{_fix(split, data.sources)}")
    scores = score_names(model, data, metrics, extractors)
    if config.objective is not None and config.objective not in scores:
        of_vaes = [option.name for option in list_options("model/objective")]
        own = f"; what a VAE minimizes is model/objective={config.objective}" if config.objective in of_vaes else None
        fix = own or _fix(config.objective, scores)
        raise UserError(f"objective={config.objective}: no metric of this run gives this score{fix}")
    for key, monitor in _monitors(config):
        known = _validation_names(config, model, data, scores)
        if known and monitor not in known:
            raise UserError(f"{key}={monitor}: no such score{_fix(monitor, known)}")
    if config.trainer.get("limit_val_batches") != 0:
        data.check_images("val")
        if model.num_classes is not None:
            data.check_labels("val")
    try_model(as_dict(config.model), model, data)
    try_metrics(metrics, extractors, model, data, split)
    return check_evaluation(model, data, metrics, extractors, **config.evaluation) if metrics else []


def likelihood_notes(model: ImageGenerator, data: ImageData) -> list[str]:
    """A line that names the likelihood of a model that has one, and whether it suits the data."""
    if not isinstance(model, LikelihoodModel):
        return []
    if isinstance(model.likelihood, Bernoulli) and data.black_and_white is False and not data.binarize:
        fix = "choose model/likelihood=gaussian, or data.black_and_white=true if they are black and white"
        return [f"likelihood Bernoulli: makes the values of data={data.name} black or white at random; {fix}"]
    name = type(model.likelihood).__name__
    return [f"likelihood {name}; model/likelihood=NAME chooses another (lightning-gen list model/likelihood)"]


def device_notes(device: torch.device, precision: str) -> list[str]:
    """Lines on what the device lacks for the options of a run."""
    if device.type not in ("cuda", "cpu") or not precision.startswith("bf16") or computes_in_bfloat16(device):
        return []
    name, others = (
        (torch.cuda.get_device_name(device), "16-mixed or 32-true")
        if device.type == "cuda"
        else ("this processor", "32-true, or auto")
    )
    return [f"trainer.precision={precision}: {name} has no bfloat16, and emulates it slowly; use {others}"]


def _fix(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known) or f"; there are {', '.join(known) or 'none, as there are no metrics'}"


def _callbacks(config: DictConfig) -> dict[str, dict[str, Any]]:
    return {name: callback for name, callback in as_dict(config.callbacks or {}).items() if callback}


def _monitors(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Key and value of each `monitor` that is not the validation loss, which all models have."""
    for name, callback in _callbacks(config).items():
        if callback.get("monitor") not in (None, "val/loss"):
            yield f"callbacks.{name}.monitor", callback["monitor"]


def _validation_names(config: DictConfig, model: ImageGenerator, data: ImageData, scores: Iterable[str]) -> list[str]:
    """What a validation logs; empty if that is not known before the first one."""
    callbacks = {callback["_target_"]: callback for callback in _callbacks(config).values()}
    kinds = {target.rpartition(".")[2]: callback for target, callback in callbacks.items()}
    if not all(target.startswith(OWN_CALLBACKS) for target in callbacks) or kinds.get("Scores", {}).get("metrics"):
        return []
    try:
        names = _terms(model, data)
    except RuntimeError:  # of a model that needs its trainer
        return []
    names += ["diversity"] if "CollapseGuard" in kinds else []
    names += scores if "Scores" in kinds else []
    return [f"val/{name}" for name in names]


def _terms(model: ImageGenerator, data: ImageData) -> list[str]:
    """The names of the model's validation losses, by a trial on two images."""
    if not model.validation_loss:
        return []
    images, labels = next(data.batches("val", model.device, limit=2))
    with evaluation_mode(model):
        return list(model.losses(Batch(images, labels)))
