"""The speed of a training on this machine, and how long it will take, by the time of a few of its first steps."""

import logging
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from lightning.pytorch.callbacks import Timer

from lightning_gen.callbacks.pictures import Pictures, drawable
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.durations import duration

log = logging.getLogger("lightning_gen")

WARM_UP = 4  # steps that are slower: memory is reserved, kernels are chosen, steps are captured
LEAST_STEPS, LEAST_SECONDS = 3, 2.0  # that are timed
PATIENCE = 10.0  # seconds after which slow steps have warmed up, and then been timed, however few
VALIDATION = 1 / 3  # time of an image in a validation, which has no backward pass, over that in training
LONG = 1_800  # seconds, from which on a line says what would make the run shorter


class Mark(NamedTuple):
    """A moment of a training."""

    seconds: float
    images: int


class StepClock:
    """Times steps of a training after the first ones, `WARM_UP` or those of `PATIENCE`: `speed` is in images/s.

    It waits for the device twice, so that it times what the device has done and not what it was sent.
    """

    def __init__(self, model: ImageGenerator):
        self.model = model
        self.speed: float | None = None  # until it is known
        self._steps = 0
        self._begin = time.monotonic()
        self._warm: Mark | None = None  # after the first steps

    def after_step(self) -> None:
        """Count an optimizer step."""
        self._steps += 1
        if self._warm is None:
            if self._steps == WARM_UP or self.passed >= PATIENCE:
                self._warm, self._steps = self._mark(), 0
            return
        seconds = time.monotonic() - self._warm.seconds
        if (self._steps >= LEAST_STEPS and seconds >= LEAST_SECONDS) or seconds >= PATIENCE:
            now = self._mark()
            self.speed = (now.images - self._warm.images) / (now.seconds - self._warm.seconds)

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    def _mark(self) -> Mark:
        if self.model.device.type in ("cuda", "mps", "xpu"):
            torch.accelerator.synchronize()
        return Mark(time.monotonic(), self.model.images_seen)


class TimeEstimate:
    """Logs a line once the speed of a training is known, and is `done`."""

    def __init__(self, trainer: ImageTrainer, model: ImageGenerator):
        self.trainer = trainer
        self.model = model
        self.done = False
        self._clock = StepClock(model)

    def after_step(self) -> None:
        """Count an optimizer step."""
        self._clock.after_step()
        if self._clock.speed is not None:
            self._tell(self._clock.speed)
            self.done = True

    def _tell(self, speed: float) -> None:
        left = self._seconds_left(speed)
        parts = [f"speed: {shown_speed(speed)} images/s on this machine"]
        if left is not None:
            time_of_all = duration(self._clock.passed + left)
            parts = [f"time: about {time_of_all} on this machine ({shown_speed(speed)} images/s)"]
        if (first := self._first_picture(speed, left)) is not None:
            parts.append(f"first picture after {duration(self._clock.passed + first)}")
        log.info("%s", "; ".join(parts))
        if self.trainer.max_images and left is not None and left > LONG:
            log.info("shorter: %s", ", ".join(self._shorter(speed, self.trainer.max_images)))

    def _seconds_left(self, speed: float) -> float | None:
        """Seconds of training from now on, validations included; None without an end."""
        timers = [callback for callback in vars(self.trainer)["callbacks"] if isinstance(callback, Timer)]
        ends = [end for timer in timers if (end := timer.time_remaining()) is not None]
        if self.trainer.max_images:
            images = max(0, self.trainer.max_images - self.model.images_seen)
            ends.append((images + VALIDATION * self._validated(images)) / speed)
        return min(ends, default=None)

    def _validated(self, images: int) -> float:
        """Images that pass through validations while so many are trained on."""
        if not self.trainer.enable_validation or not self.trainer.val_check_batch:
            return 0
        data = self.trainer.datamodule
        validations = images / (data.batch_size * self.trainer.steps_per_call) // self.trainer.val_check_batch
        return validations * min(data.split_sizes["val"], sum(self.trainer.num_val_batches) * data.batch_size)

    def _first_picture(self, speed: float, left: float | None) -> float | None:
        """Seconds until the first picture, which a call of Lightning's loop ends with; None if there will be none."""
        pictures = [callback for callback in vars(self.trainer)["callbacks"] if isinstance(callback, Pictures)]
        if not pictures or not drawable(self.model):
            return None
        first = min(self._until(callback, speed) for callback in pictures)
        return first if left is None else min(first, left)

    def _until(self, pictures: Pictures, speed: float) -> float:
        seen, every = self.model.images_seen, pictures.every_images
        call = self.trainer.datamodule.batch_size * self.trainer.steps_per_call  # images
        by_images = (math.ceil((seen // every + 1) * every / call) * call - seen) / speed
        if pictures.every_minutes is None:
            return by_images
        return min(by_images, max(0.0, 60 * pictures.every_minutes - self._clock.passed) + call / 2 / speed)

    def _shorter(self, speed: float, max_images: int) -> Iterator[str]:
        """Overrides that shorten the run."""
        images = float(f"{speed * LONG:.0e}")
        if self.model.images_seen + images < max_images:
            yield f"trainer.max_images={self.model.images_seen + round(images):_} ({duration(images / speed)})"
        config = self.model.provenance.get("config", {})
        if min(self.model.image_shape[-2:]) > 32 and "size" in config.get("data", {}):
            yield "data.size=32"
        if config.get("model", {}).get("size", "small") != "small":
            yield "model.size=small"


def shown_speed(speed: float) -> str:
    """Images per second, to the unit or two digits."""
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
