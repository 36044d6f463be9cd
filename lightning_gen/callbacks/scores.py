"""Scores while training: at every validation, by the same evaluation as at the end."""

from collections.abc import Mapping

from lightning.pytorch import Callback, Trainer

from lightning_gen.evaluation import evaluate
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.image_metric import ImageMetric


class Scores(Callback):
    """Logs `val/<score>` of averaged weights, which checkpoints and early stopping may monitor.

    `num_samples` images are drawn and as many real ones looked at. Real features are kept from one time to the next.
    """

    def __init__(self, metrics: Mapping[str, ImageMetric], extractor: Extractor | None, num_samples: int):
        self.metrics = metrics
        self.extractor = extractor
        self.num_samples = num_samples

    def on_validation_epoch_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Evaluate on the validation split."""
        result = evaluate(
            model,
            trainer.datamodule,
            self.metrics,
            self.extractor or None,
            split="val",
            num_samples=self.num_samples,
            num_real=self.num_samples,
            batch_size=trainer.datamodule.batch_size,
            seed=model.seed,
            show_progress=False,
        )
        scores = {f"val/{name}": value for name, value in result["scores"].items()}
        model.log_dict(scores, logger=False)
        model.log_now(scores)
