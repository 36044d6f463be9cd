"""Scores while training: at validations, by the same evaluation as at the end."""

from collections.abc import Mapping

from lightning.pytorch import Callback, Trainer

from lightning_gen.bounds import PositiveInt
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.image_metric import ImageMetric


class Scores(Callback):
    """Logs `val/<score>` of averaged weights, which checkpoints and early stopping may monitor.

    `num_samples` images are drawn and as many real ones looked at, whose features are kept.
    Without `metrics` of its own it takes the run's metrics and extractors.
    Scores at the first validation after each `every_images`; not `always` means only models without a validation loss.
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

    def setup(self, trainer: Trainer, model: ImageGenerator, stage: str) -> None:
        """Make the run's metrics, where there are no others; a model outside a run has none."""
        if self.metrics is None:
            config = model.provenance["config"] if model.provenance else {"metrics": {}, "extractor": {}}
            self.metrics = build_metrics(config["metrics"])
            self.extractors = build_extractors(config["extractor"], self.metrics)

    def on_validation_epoch_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Evaluate on the validation split."""
        between = trainer.val_check_batch * trainer.steps_per_call * trainer.datamodule.batch_size
        due = model.images_seen // self.every_images > (model.images_seen - between) // self.every_images
        if not self.metrics or not due or (model.validation_loss and not self.always):
            return
        evaluation = evaluate(
            model,
            trainer.datamodule,
            self.metrics,
            self.extractors,
            split="val",
            num_samples=self.num_samples,
            num_real=self.num_samples,
            batch_size=trainer.datamodule.batch_size,
            seed=model.seed,
            show_progress=False,
        )
        scores = {f"val/{name}": value for name, value in evaluation.values.items()}
        model.log_dict(scores, logger=False)
        model.log_now(scores)
