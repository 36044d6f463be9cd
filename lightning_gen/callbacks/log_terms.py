"""Writes what training steps gathered to the loggers: terms, speed, memory. One transfer from the device each time."""

import resource
import sys
import time

import torch
from lightning.pytorch import Callback, Trainer

from lightning_gen.bounds import PositiveInt
from lightning_gen.image_generator import ImageGenerator


class LogTerms(Callback):
    """Every `every_steps` optimizer steps."""

    def __init__(self, every_steps: PositiveInt):
        self.every_steps = every_steps
        self._mark: tuple[float, int] | None = None

    def on_train_start(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Start the clock."""
        self._mark = (time.perf_counter(), model.images_seen)

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Flush if the interval is over."""
        if model.batches_seen % self.every_steps < trainer.steps_per_call:
            self._log(model)

    def on_validation_start(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Stop the clock: speed is that of training."""
        if self._mark:
            now, images = time.perf_counter(), model.images_seen
            self._mark = (now - self._mark[0], images - self._mark[1])

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Let the clock go on."""
        if self._mark:
            self._mark = (time.perf_counter() - self._mark[0], model.images_seen - self._mark[1])

    def on_train_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Write what is left."""
        self._log(model)

    def _log(self, model: ImageGenerator) -> None:
        means = model.terms.flush()
        if not means:
            return
        now, (then, images) = time.perf_counter(), self._mark
        self._mark = (now, model.images_seen)
        scalars = {f"train/{name}": value for name, value in means.items()}
        scalars["images_per_second"] = (model.images_seen - images) / max(now - then, 1e-9)
        scalars["memory_gib"] = memory_gib(model.device)
        scalars["learning_rate"] = model.steppers[0].optimizer.param_groups[0]["lr"]
        model.log_now(scalars)


def memory_gib(device: torch.device) -> float:
    """Peak memory so far in GiB: of the GPU if the model is on one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere
