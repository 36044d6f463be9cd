"""Progress of training: a bar on a terminal, plain lines in a file."""

import logging
import math
import sys
import time

from lightning.pytorch import Callback

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.callbacks.time_estimate import TimeEstimate, shown_speed
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.durations import duration

log = logging.getLogger("lightning_gen")

TERMS = ("loss", "generator", "discriminator")  # that are shown, where a model has them


class Progress(Callback):
    """Shows images seen, speed, time left and the latest losses: a bar refreshed twice a second on a terminal, else a
    line every `every_seconds`; after the first steps how long the training will take. Costs microseconds per step, and
    two device synchronizations in a run.
    """

    def __init__(self, every_seconds: NonNegativeFloat):
        self.every_seconds = every_seconds
        self._bar = None

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Open the bar, on rank 0 only."""
        if not trainer.is_global_zero:
            return
        self._start = (time.monotonic(), model.images_seen)
        self._due = self._start[0] + (0 if sys.stdout.isatty() else self.every_seconds)
        self._estimate = TimeEstimate(trainer, model)
        model.on_step = lambda: self._after_step(trainer, model)
        if sys.stdout.isatty():
            self._open_bar(trainer, model)

    def _after_step(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Refresh when due."""
        if not self._estimate.done:
            self._estimate.after_step()
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (0.5 if self._bar else self.every_seconds)
        if self._bar:
            self._bar.update(self._task, completed=model.images_seen, terms=latest_losses(model))
        else:
            log.info(self._line(trainer, model, now))

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Close the bar, and show the final count in a line, which stays in the log."""
        if not trainer.is_global_zero:
            return
        model.on_step = None
        if self._bar:
            self._bar.update(self._task, completed=model.images_seen)
            self._close_bar()
        log.info(self._line(trainer, model, time.monotonic()))

    def on_exception(self, trainer: ImageTrainer, model: ImageGenerator, exception: BaseException) -> None:
        """Restore the terminal."""
        model.on_step = None
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
        seconds = now - self._start[0]
        speed = (model.images_seen - self._start[1]) / max(seconds, 1e-9)
        of = f" of {trainer.max_images:,}" if trainer.max_images else ""
        left = ""
        if trainer.max_images and speed and model.images_seen < trainer.max_images:
            left = f", {duration((trainer.max_images - model.images_seen) / speed)} left"
        progress = f"{model.images_seen:,}{of} images, {shown_speed(speed)} images/s, {duration(seconds)}{left}"
        return "; ".join(filter(None, [progress, latest_losses(model)]))


def latest_losses(model: ImageGenerator) -> str:
    """The latest losses, with bits per dimension or PSNR where they are known; empty before the first are logged."""
    names = [f"{stage}/{term}" for stage in ("train", "val") for term in TERMS]
    texts = [f"{name} {model.latest[name]:.4g}{_in_other_units(model, name)}" for name in names if name in model.latest]
    return "  ".join(texts)


def _in_other_units(model: ImageGenerator, name: str) -> str:
    """What a loss means: bits for one channel of a pixel, as of other models, or decibels of frames in [-1, 1]."""
    stage, _, term = name.partition("/")
    latest = model.latest
    if term != "loss":
        return ""
    if f"{stage}/bits_per_dim" in latest:
        return f" ({latest[f'{stage}/bits_per_dim']:.4g} bits/dim)"
    if f"{stage}/negative_elbo" in latest:
        bits = latest[f"{stage}/negative_elbo"] / (math.log(2) * math.prod(model.image_shape))
        return f" ({bits:.4g} bits/dim)"
    if latest.get(f"{stage}/mse", 0) > 0:
        return f" (PSNR {10 * math.log10(4 / latest[f'{stage}/mse']):.3g} dB)"
    return ""
