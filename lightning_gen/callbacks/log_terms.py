"""Logs the loss terms of training steps, speed and memory, with one transfer from the device per interval."""

import resource
import sys
import time

import torch
from lightning.pytorch import Callback

from lightning_gen.bounds import PositiveInt
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer


class LogTerms(Callback):
    """Logs every `every_steps` optimizer steps: means of the terms since the last time."""

    def __init__(self, every_steps: PositiveInt):
        self.every_steps = every_steps
        # Time in seconds and images seen at the last logging; during a validation, the differences to now.
        self._mark = (0.0, 0)

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Start the clock."""
        self._mark = (time.perf_counter(), model.images_seen)

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Log when due."""
        if model.batches_seen % self.every_steps < trainer.steps_per_call:
            self._log(model)

    def on_validation_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Stop the clock: validation does not count for the speed."""
        self._mark = self._since_mark(model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Restart the clock."""
        self._mark = self._since_mark(model)

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Log the remaining steps."""
        self._log(model)

    def _log(self, model: ImageGenerator) -> None:
        means = model.terms.flush()
        if not means:
            return
        seconds, images = self._since_mark(model)
        self._mark = (time.perf_counter(), model.images_seen)
        scalars = {f"train/{name}": value for name, value in means.items()}
        scalars["images_per_second"] = images / max(seconds, 1e-9)
        scalars["memory_gib"] = memory_gib(model.device)
        scalars["learning_rate"] = model.steppers[0].learning_rate
        model.log_now(scalars)

    def _since_mark(self, model: ImageGenerator) -> tuple[float, int]:
        return time.perf_counter() - self._mark[0], model.images_seen - self._mark[1]


def memory_gib(device: torch.device) -> float:
    """Peak memory so far in GiB: of the GPU that the model is on, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # macOS counts bytes, Linux KiB
