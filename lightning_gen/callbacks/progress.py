"""Progress of training: a bar on a terminal, plain lines in a file."""

import logging
import sys
import time

from lightning.pytorch import Callback

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer

log = logging.getLogger("lightning_gen")


class Progress(Callback):
    """Shows images seen, speed, time left and the latest losses: a bar refreshed twice a second on a terminal, else a
    line every `every_seconds`. Costs microseconds per step and no device synchronization.
    """

    def __init__(self, every_seconds: NonNegativeFloat):
        self.every_seconds = every_seconds
        self._bar = None

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Open the bar, on rank 0 only."""
        self._due = float("inf") if not trainer.is_global_zero else time.monotonic()
        self._start = (time.monotonic(), model.images_seen)
        if trainer.is_global_zero and sys.stdout.isatty():
            self._open_bar(trainer, model)

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Refresh when due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (0.5 if self._bar else self.every_seconds)
        if self._bar:
            self._bar.update(self._task, completed=model.images_seen, terms=_latest_losses(model))
        elif batch_idx:  # the first step has no meaningful speed
            log.info(self._line(trainer, model, now))

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Show the final count and close."""
        if self._bar:
            self._bar.update(self._task, completed=model.images_seen, terms=_latest_losses(model))
            self._close_bar()
        elif trainer.is_global_zero:
            log.info(self._line(trainer, model, time.monotonic()))

    def on_exception(self, trainer: ImageTrainer, model: ImageGenerator, exception: BaseException) -> None:
        """Restore the terminal."""
        self._close_bar()

    def _open_bar(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn("training"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("images"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[terms]}"),
            refresh_per_second=2,
        )
        self._task = self._bar.add_task("", total=trainer.max_images, completed=model.images_seen, terms="")
        self._bar.start()

    def _close_bar(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _line(self, trainer: ImageTrainer, model: ImageGenerator, now: float) -> str:
        speed = (model.images_seen - self._start[1]) / max(now - self._start[0], 1e-9)
        of = f" of {trainer.max_images:,}" if trainer.max_images else ""
        left = (
            f", {max(0, trainer.max_images - model.images_seen) / speed:.0f} s left"
            if trainer.max_images and speed
            else ""
        )
        return f"{model.images_seen:,}{of} images, {speed:,.0f} images/s{left}; {_latest_losses(model)}"


def _latest_losses(model: ImageGenerator) -> str:
    shown = ("train/loss", "val/loss")
    return "  ".join(f"{name} {model.latest[name]:.4g}" for name in shown if name in model.latest)
