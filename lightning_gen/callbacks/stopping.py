"""Ends a run at its number of images or on a signal, always in a state that resumes exactly."""

import logging
import signal
import threading
from collections.abc import Callable

import torch
from lightning.pytorch import Callback

from lightning_gen.callbacks.interval import validates
from lightning_gen.callbacks.last_checkpoint import LastCheckpoint
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.compat import skip_sigterm_broadcast

log = logging.getLogger("lightning_gen")


class Interrupted(Exception):
    """Training was stopped by a signal after saving its state."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Stopping(Callback):
    """Ends training at the trainer's `max_images`, or on a signal.

    On Ctrl-C, SIGTERM (preemption) or SIGUSR1 (a scheduler's warning): finish the step, save, raise Interrupted.
    A second Ctrl-C stops at once without saving. Ranks agree on the step by a reduction every `agree_every` steps.
    """

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, agree_every: int = 20):
        self.agree_every = agree_every
        self.received = 0
        self._agreed = 0  # signal known to all ranks: one that stopped alone would leave the others waiting
        self._previous: dict[int, Callable | int | None] = {}

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Take over the signals, after Lightning has set its own handlers."""
        skip_sigterm_broadcast(trainer)
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in self.signals}

    def teardown(self, trainer: ImageTrainer, model: ImageGenerator, stage: str) -> None:
        """Restore the previous signal handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _receive(self, number: int, frame) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            log.info("stopping after this step; Ctrl-C again stops at once, without saving")
        self.received = number

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Stop at `max_images`; save and stop after a signal."""
        if trainer.max_images is not None and model.images_seen >= trainer.max_images:
            trainer.should_stop = True
        if trainer.world_size > 1:
            if (batch_idx + 1) % max(1, self.agree_every // trainer.steps_per_call):
                return
            received = torch.tensor(self.received, device=model.device)
            torch.distributed.all_reduce(received, op=torch.distributed.ReduceOp.MAX)
            self.received = int(received)
        self._agreed = self.received
        if self._agreed and not validates(trainer, batch_idx):
            self._stop(trainer, model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Stop after the pending validation, so that a resumed run doesn't skip it."""
        if self._agreed:
            self._stop(trainer, model)

    def _stop(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        if not trainer.should_stop:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.save(trainer, model)
            raise Interrupted(self._agreed)
