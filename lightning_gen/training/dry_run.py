"""`train --dry-run`: all that a run does before its first step, and how long its steps take; no file is written."""

import logging
import math
import time
from collections.abc import Sequence

import torch
from omegaconf import DictConfig

from lightning_gen.callbacks.stopping import Interrupted
from lightning_gen.callbacks.timed_steps import TimedSteps
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.training.messages import describe, tell
from lightning_gen.training.run import build_trainer, prepare, use_channels_last
from lightning_gen.training.run_log import run_log
from lightning_gen.utilities.durations import duration
from lightning_gen.utilities.signals import Stopped

log = logging.getLogger("lightning_gen")


def dry_run(config: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Log what `train` would do with `config`: model, data, steps and time. UserError where it would raise one."""
    run = prepare(config, overrides)
    config = run.start.config
    timed = TimedSteps()
    with run_log(None):
        trainer = build_trainer(config, run.data, [], [timed])
        log.setLevel(logging.INFO if trainer.is_global_zero else logging.WARNING)
        describe(run.model, run.data, trainer, config)
        tell(run.notes, run.model, run.data, trainer, config)
        log.info("%s", _length(trainer, run.data, run.seen))
        if trainer.world_size > 1:
            log.info("time: not measured with %s processes", trainer.world_size)
        elif trainer.max_images is None or run.seen < trainer.max_images:
            _time(trainer, run.model, run.data, timed)
        log.info("dry run: nothing was written to %s; without --dry-run the run begins", config.run_dir)


def _length(trainer: ImageTrainer, data: ImageData, seen: int) -> str:
    if trainer.max_images is None:
        return f"length: without an end, batches of {data.batch_size:,} images"
    left = max(0, trainer.max_images - seen)
    passes = trainer.max_images / data.split_sizes["train"]
    steps = f"{math.ceil(left / data.batch_size):,} steps of {data.batch_size:,} images"
    return f"length: {left:,} images, {steps}, {passes:,.1f} passes over the training images in all"


def _time(trainer: ImageTrainer, model: ImageGenerator, data: ImageData, timed: TimedSteps) -> None:
    """Train until the time is known, which logs it."""
    start = time.monotonic()
    if trainer.channels_last:
        use_channels_last(model)
    try:
        trainer.fit(model, datamodule=data)
    except Interrupted as stop:
        raise Stopped(stop.signal_number) from stop
    if not timed.estimate.done:
        log.info("time: %s for all of it on this machine", duration(time.monotonic() - start))
    if model.device.type == "cuda":
        log.info("memory: %.3g GiB at most", torch.cuda.max_memory_allocated(model.device) / 2**30)
