"""A few steps of training, to know how long all of it will take."""

from lightning.pytorch import Callback

from lightning_gen.callbacks.time_estimate import TimeEstimate
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer


class TimedSteps(Callback):
    """Ends a training once its time is estimated, or after it has seen all of its images."""

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Start the clock."""
        self.estimate = TimeEstimate(trainer, model)
        model.on_step = self._after_step

    def _after_step(self) -> None:
        if not self.estimate.done:
            self.estimate.after_step()

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Stop."""
        trainer.should_stop = trainer.should_stop or self.estimate.done
