"""Ends a run at its number of images or on a signal, always in a state that resumes exactly."""

import logging
import os
import signal
import sys
import threading
import time

import torch
from lightning.pytorch import Callback

from lightning_gen.callbacks.interval import validates
from lightning_gen.callbacks.last_checkpoint import LastCheckpoint
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.compat import kill_launched, leave_signals
from lightning_gen.utilities.signals import AT_ONCE, Handlers, Stopped, give_back, take_over

log = logging.getLogger("lightning_gen")


class Interrupted(Exception):
    """Training was stopped by a signal after saving its state."""

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Stopping(Callback):
    """Ends training at the trainer's `max_images`, or on a signal.

    On Ctrl-C, SIGTERM (preemption), SIGHUP (a closed terminal) or SIGUSR1 (a scheduler's warning): finish the step,
    save, raise Interrupted. A second Ctrl-C stops at once without saving. Ranks agree on the step, and on the seconds
    that the training has taken, by a reduction every `agree_every` steps.
    """

    def __init__(self, agree_every: int = 20):
        self.agree_every = agree_every
        self.received = 0
        self._agreed = 0  # signal known to all ranks: one that stopped alone would leave the others waiting
        self._previous: Handlers = {}
        self._trainer: ImageTrainer | None = None
        self._start = time.monotonic()
        self._wakeup: int | None = None  # where Python writes the number of each signal, at once

    def setup(self, trainer: ImageTrainer, model: ImageGenerator, stage: str) -> None:
        """Keep Lightning from handling signals."""
        leave_signals(trainer)

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Take over the signals: from now on there is something to save."""
        self._trainer = trainer
        self._start = time.monotonic()
        trainer.seconds = 0.0
        self._previous = take_over(self._receive)
        if self._previous and trainer.world_size > 1:
            reader, self._wakeup = os.pipe()
            os.set_blocking(self._wakeup, False)
            signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
            threading.Thread(target=self._end_on_second, args=(reader,), daemon=True).start()

    def teardown(self, trainer: ImageTrainer, model: ImageGenerator, stage: str) -> None:
        """Restore the previous signal handlers; end a run whose last step was reached before the signal was heeded."""
        self._restore()
        if self._agreed and trainer.should_stop:
            raise Interrupted(self._agreed)

    def on_exception(self, trainer: ImageTrainer, model: ImageGenerator, exception: BaseException) -> None:
        """Restore the previous signal handlers."""
        self._restore()

    def _restore(self) -> None:
        give_back(self._previous)
        self._previous = {}
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._wakeup)
            self._wakeup = None

    def _receive(self, number: int) -> None:
        if self.received and number == signal.SIGINT:
            raise Stopped(signal.SIGINT)
        if number == signal.SIGINT:
            log.info("stopping after this step; Ctrl-C again stops at once, without saving")
        self.received = number

    def _end_on_second(self, signals: int) -> None:
        """End all ranks on a second Ctrl-C: handlers, in the main thread, wait as long as a collective does."""
        assert self._trainer is not None
        first = None
        while byte := os.read(signals, 1):
            if byte[0] != signal.SIGINT:
                continue
            if first is not None and time.monotonic() - first >= AT_ONCE:
                kill_launched(self._trainer)
                if self._trainer.is_global_zero:
                    print("interrupted", file=sys.stderr, flush=True)
                os._exit(128 + signal.SIGINT)
            first = time.monotonic()
        os.close(signals)

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Stop at `max_images`; save and stop after a signal."""
        if trainer.max_images is not None and model.images_seen >= trainer.max_images:
            trainer.should_stop = True
        if trainer.world_size > 1 and (batch_idx + 1) % max(1, self.agree_every // trainer.steps_per_call):
            return
        self._agree(trainer, model)
        if self._agreed and not validates(trainer, batch_idx):
            self._stop(trainer, model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Stop after the pending validation, so that a resumed run doesn't skip it."""
        if self._agreed:
            self._stop(trainer, model)

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Agree once more: the evaluation must not begin after a signal in the last steps."""
        self._agree(trainer, model)

    def _agree(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        trainer.seconds = time.monotonic() - self._start
        if trainer.world_size > 1:
            # The clock of the first rank counts for all.
            state = [self.received, trainer.seconds if trainer.is_global_zero else 0.0]
            agreed = torch.tensor(state, device=model.device)
            torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
            received, trainer.seconds = agreed.tolist()
            self.received = int(received)
        self._agreed = self.received

    def _stop(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        if not trainer.should_stop:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.save(trainer, model)
            raise Interrupted(self._agreed)
