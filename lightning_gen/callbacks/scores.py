"""Scores during training: at validations, by the evaluation that also ends the run."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback

from lightning_gen.bounds import PositiveInt
from lightning_gen.callbacks.interval import crossed_within
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, check_evaluation, evaluate
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.trainer import ImageTrainer


class Scores(Callback):
    """Logs `val/<score>` of the averaged weights, for checkpoints and early stopping to monitor.

    Compares `num_samples` samples with `num_samples` real images, whose features are cached. `metrics=None` means the
    run's metrics and extractors. Evaluates at the first validation after each `every_images`; with `always=False` only
    models without a validation loss.
    """

    def __init__(
        self,
        metrics: Mapping[str, ImageMetric] | None,
        extractor: Mapping[str, Extractor] | None,
        num_samples: PositiveInt,
        every_images: PositiveInt,
        always: bool,
    ):
        self.metrics = metrics
        self.extractors = extractor or {}
        self.num_samples = num_samples
        self.every_images = every_images
        self.always = always

    def setup(self, trainer: ImageTrainer, model: ImageGenerator, stage: str) -> None:
        """Build the run's metrics if none are given; a model outside a run has none."""
        if not self._scores(model):
            return
        if self.metrics is None:
            config = model.provenance["config"] if model.provenance else {"metrics": {}, "extractor": {}}
            self.metrics = build_metrics(config["metrics"])
            self.extractors = build_extractors(config["extractor"], self.metrics)
        if self.metrics:
            check_evaluation(model, trainer.datamodule, self.metrics, self.extractors, **self._settings)

    def on_validation_epoch_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Evaluate on the validation split."""
        calls = int(trainer.val_check_batch or 0)
        images = calls * trainer.steps_per_call * trainer.datamodule.batch_size  # since the last validation
        due = crossed_within(model, self.every_images, images)
        if not self.metrics or not due or not self._scores(model):
            return
        evaluation = evaluate(
            model,
            trainer.datamodule,
            self.metrics,
            self.extractors,
            **self._settings,
            batch_size=trainer.datamodule.batch_size,
            seed=model.seed,
            show_progress=False,
        )
        scores = {f"val/{name}": value for name, value in evaluation.values.items()}
        model.log_dict(scores, logger=False)
        model.log_now(scores)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"split": "val", "num_samples": self.num_samples, "num_real": self.num_samples}

    def _scores(self, model: ImageGenerator) -> bool:
        return self.always or not model.validation_loss
