"""Writes `report.html` in the run folder: after new pictures as the run goes, and at its end."""

import logging
import time
from pathlib import Path

from lightning.pytorch import Callback

from lightning_gen.bounds import PositiveFloat
from lightning_gen.callbacks.pictures import Pictures
from lightning_gen.callbacks.stopping import Interrupted
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.report.page import write_report
from lightning_gen.trainer import ImageTrainer

log = logging.getLogger("lightning_gen")

MOST_TIME = 0.01  # share of the time of a training that its reports may take
EXPECTED = 0.5  # seconds, for the first one


class Report(Callback):
    """Writes the report of the run in `folder` after new pictures, at most every `every_seconds`.

    As the run goes it takes 1 % of the time at most: slower reports are written less often. A report that can't be
    written is a line in the log, and nothing more.
    """

    def __init__(self, folder: str, every_seconds: PositiveFloat):
        self.folder = Path(folder)
        self.every_seconds = every_seconds
        self._start = self._written = time.monotonic()
        self._spent, self._last = 0.0, EXPECTED  # seconds, of all reports so far and of the last one
        self._shown = -1  # images seen when the newest picture in it was drawn
        self._failed = ""

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Start the clock."""
        self._start = self._written = time.monotonic()

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Write the report when due."""
        drawn = max((c.drawn_at for c in vars(trainer)["callbacks"] if isinstance(c, Pictures)), default=-1)
        if drawn > self._shown and trainer.is_global_zero and self._is_due(time.monotonic()):
            self.write()
            self._shown = drawn

    def on_exception(self, trainer: ImageTrainer, model: ImageGenerator, exception: BaseException) -> None:
        """Write the report of a run that a signal or an error ends."""
        if trainer.is_global_zero and isinstance(exception, Exception):
            stopped = isinstance(exception, Interrupted)
            self.write(f"stopped by {exception}" if stopped else f"failed: {type(exception).__name__}")

    def _is_due(self, now: float) -> bool:
        affordable = self._spent + self._last <= MOST_TIME * (now - self._start)
        return affordable and now - self._written >= self.every_seconds

    def write(self, outcome: str | None = None) -> None:
        """Write the report; `outcome` says how the run has ended, None while it goes on."""
        begin = time.monotonic()
        try:
            path = write_report(self.folder, outcome)
        except Exception as error:
            if str(error) != self._failed:  # once, not every minute
                log.info("no report is written: %s", " ".join(str(error).split()) or type(error).__name__)
            self._failed = str(error)
        else:
            if outcome is not None:
                log.info("report: %s", path)
        self._written = time.monotonic()
        self._last = self._written - begin
        self._spent += self._last


def finish_report(trainer: ImageTrainer) -> None:
    """Write the report of a run that has been trained and scored, if it has the callback."""
    for callback in vars(trainer)["callbacks"]:
        if isinstance(callback, Report) and trainer.is_global_zero:
            callback.write("finished")
