"""Ends a run whose score has stopped improving."""

from typing import Literal

from lightning.pytorch import callbacks

from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.suggestions import did_you_mean


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, with bounds; UserError for an unknown `monitor`."""

    def __init__(
        self,
        monitor: str,
        mode: Literal["min", "max"],
        patience: PositiveInt,
        min_delta: NonNegativeFloat = 0.0,
        **lightning,
    ):
        super().__init__(monitor, min_delta, patience, mode=mode, **lightning)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Stop if there was no improvement `patience` times in a row."""
        known = [name for name in trainer.callback_metrics if name.startswith("val/")]
        if self.monitor not in trainer.callback_metrics:
            fix = did_you_mean(self.monitor, known) or f"; there are {', '.join(known)}"
            raise UserError(f"callbacks.early_stopping.monitor={self.monitor}: no such score{fix}")
        super().on_validation_end(trainer, model)
