"""Keeps `last.ckpt`: the newest state, whatever the monitored score says."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_gen.bounds import PositiveInt
from lightning_gen.callbacks.finite_guard import all_finite, diverged
from lightning_gen.callbacks.interval import crossed, validates
from lightning_gen.image_generator import ImageGenerator


class LastCheckpoint(Checkpoint):
    """Writes `folder/last.ckpt` every `every_images` and at the end; never a state with NaN or infinite weights.

    Where a validation falls on the same step, the state is written after it, so that resuming doesn't skip it.
    """

    def __init__(self, folder: str, every_images: PositiveInt):
        self.path = Path(folder) / "last.ckpt"
        self.every_images = every_images

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Save if the interval is over and no validation follows this step."""
        if crossed(model, self.every_images) and not validates(trainer, batch_idx):
            self.save(trainer, model)

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Save what was put off."""
        if trainer.state.fn == "fit" and crossed(model, self.every_images):
            self.save(trainer, model)

    def on_train_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Save the end of the run."""
        self.save(trainer, model)

    def save(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Write the state; UserError if it isn't finite."""
        if not all_finite(model):
            raise diverged(model, "a weight is not finite")
        trainer.save_checkpoint(self.path)
