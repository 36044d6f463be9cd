"""Ends a run at its number of images, or when a user or a scheduler asks, always at a state that resumes exactly."""

import logging
import signal
import threading

import torch
from lightning.pytorch import Callback, Trainer

from lightning_gen.callbacks.interval import validates
from lightning_gen.callbacks.last_checkpoint import LastCheckpoint
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.utilities.compat import skip_sigterm_broadcast

log = logging.getLogger("lightning_gen")


class Interrupted(Exception):
    """Training was asked to stop by a signal, and has saved its state."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Stopping(Callback):
    """Ends training at the trainer's `max_images`, and when asked to.

    On Ctrl-C, SIGTERM (preemption) or SIGUSR1 (a scheduler's warning): finish the step, save, raise Interrupted.

    A second Ctrl-C stops at once. Ranks agree on the step by a reduction every `agree_every` steps.
    """

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, agree_every: int = 20):
        self.agree_every = agree_every
        self.received = 0
        self._agreed = 0  # what all ranks know of: one that stopped alone would leave the others waiting
        self._previous: dict[int, object] = {}

    def on_train_start(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Take over the signals, after Lightning has set its own handlers."""
        skip_sigterm_broadcast(trainer)
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in self.signals}

    def teardown(self, trainer: Trainer, model: ImageGenerator, stage: str) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _receive(self, number: int, frame) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            log.info("stopping after this step; Ctrl-C again stops at once, without saving")
        self.received = number

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Stop at the end; save and stop if a signal came."""
        if trainer.max_images is not None and model.images_seen >= trainer.max_images:
            trainer.should_stop = True
        if trainer.world_size > 1:
            if (batch_idx + 1) % max(1, self.agree_every // trainer.steps_per_call):
                return
            asked = torch.tensor(self.received, device=model.device)
            torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
            self.received = int(asked)
        self._agreed = self.received
        if self._agreed and not validates(trainer, batch_idx):
            self._stop(trainer, model)

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Stop now if it was put off, so that resuming doesn't skip this validation."""
        if self._agreed:
            self._stop(trainer, model)

    def _stop(self, trainer: Trainer, model: ImageGenerator) -> None:
        if not trainer.should_stop:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.save(trainer, model)
            raise Interrupted(self._agreed)
