"""Watches the other ranks of a distributed run: when one dies, a line says which, and the others end."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import NamedTuple

import torch
from lightning.pytorch import Callback

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.compat import launched_processes, observe_launched
from lightning_gen.utilities.launchers import RELAUNCHED
from lightning_gen.utilities.ranks import is_distributed

# Seconds: for a failed rank to be gone; for the main thread to say so itself; for ranks that end to end.
GONE, GRACE, ORDERLY = 5.0, 10.0, 60.0
BROKEN = ("gloo", "NCCL", "onnection", "TCPStore", "recvValue", "process group")


class Peer(NamedTuple):
    """A rank of the run, and its process."""

    rank: int
    node: str
    pid: int


class RankWatch(Callback):
    """Knows the processes of all ranks; `watched` is for the whole run, its evaluation included."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self._said = threading.Lock()

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Tell the other ranks this process, and hear theirs."""
        if trainer.world_size > 1:
            peers: list[Peer] = [Peer(0, "", 0)] * trainer.world_size
            torch.distributed.all_gather_object(peers, Peer(trainer.global_rank, socket.gethostname(), os.getpid()))
            self.peers = peers

    @contextmanager
    def watched(self, trainer: ImageTrainer, model: ImageGenerator, run_dir: str) -> Iterator[None]:
        """Within it the death of a rank ends this process in one line; at the end so do those that Lightning started.

        A killed data worker is a UserError.
        """
        describe = _hint(model, run_dir)
        observe_launched(lambda processes: _start(self._observe, trainer, processes, describe))
        if RELAUNCHED in os.environ:
            _start(_end_with_parent, os.getppid())
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            self._explain(error, trainer, describe)
            raise
        finally:
            _end_launched(trainer, sys.exception())

    def _explain(self, error: Exception, trainer: ImageTrainer, describe: Callable[[], str]) -> None:
        """Raise UserError for a data worker that was killed, SystemExit, after a line, for a rank; or return."""
        # PyTorch raises it from a signal handler, wherever the main thread is: in a write it becomes an OSError.
        if killed := re.search(r"DataLoader worker[^.\n]*", str(error)):
            raise UserError(f"data.num_workers: {killed[0]}, often for want of memory{describe()}") from error
        if trainer.world_size == 1 or os.environ.get("LIGHTNING_GEN_TRACEBACK") == "1":
            return
        if self._wait_for_death(trainer):
            self._say(trainer, describe)
        elif is_distributed() and "Timed out waiting" in str(error):  # of gloo; NCCL aborts the process
            fix = "raise trainer.timeout if they were at work"
            self._print(f"rank {trainer.global_rank}: waited too long for the others; {fix}{describe()}")
        elif is_distributed() and any(word in str(error) for word in BROKEN):
            far = [p for p in self.peers if p.node != socket.gethostname()]
            where = f" to one of {_names(far)}" if far else ""
            self._print(f"rank {trainer.global_rank}: the connection{where} broke{describe()}")
        else:
            return
        raise SystemExit(2)

    def _wait_for_death(self, trainer: ImageTrainer) -> bool:
        deadline = time.monotonic() + GONE
        while not self._dead(trainer) and time.monotonic() < deadline:
            time.sleep(0.05)
        return bool(self._dead(trainer))

    def _dead(self, trainer: ImageTrainer) -> list[Peer]:
        node = socket.gethostname()
        known = self.peers or [
            Peer(trainer.global_rank + number, node, process.pid)
            for number, process in enumerate(launched_processes(trainer), 1)
        ]
        return [p for p in known if p.node == node and p.pid != os.getpid() and not _lives(p.pid)]

    def _say(self, trainer: ImageTrainer, describe: Callable[[], str]) -> None:
        """Print the line on the first of the ranks that are left, unless those that died have said why."""
        dead = self._dead(trainer)
        left = {p.rank for p in self.peers or [Peer(trainer.global_rank, "", 0)]} - {p.rank for p in dead}
        gone = {p.pid for p in dead}
        # `poll` has no answer while another thread asks.
        statuses = {process.pid: _status(process) for process in launched_processes(trainer) if process.pid in gone}
        reasons = {p: _reason(statuses.get(p.pid)) for p in dead}
        if trainer.global_rank == min(left) and None not in reasons.values():
            names = ", ".join(f"{_names([p])} {reason}" for p, reason in reasons.items())
            self._print(names + describe())

    def _print(self, line: str) -> None:
        if self._said.acquire(blocking=False):
            print(f"error: {line}", file=sys.stderr, flush=True)

    def _observe(self, trainer: ImageTrainer, processes: list[Popen], describe: Callable[[], str]) -> None:
        """End this process when one that it started has failed and the main thread waits for it, for ever."""
        while not any(process.poll() for process in processes):
            if all(process.poll() == 0 for process in processes):
                return
            time.sleep(1)
        stopped = all((process.poll() or 0) >= 128 for process in processes if process.poll())
        time.sleep(ORDERLY if stopped else GRACE)
        self._say(trainer, describe)
        for process in processes:
            process.kill()
        os._exit(2)


@contextmanager
def ranks_watched(trainer: ImageTrainer, model: ImageGenerator, run_dir: str) -> Iterator[None]:
    """Within it the trainer's RankWatch does what `watched` says."""
    watch = next(callback for callback in vars(trainer)["callbacks"] if isinstance(callback, RankWatch))
    with watch.watched(trainer, model, run_dir):
        yield


def _hint(model: ImageGenerator, run_dir: str) -> Callable[[], str]:
    def describe() -> str:
        saved = Path(run_dir, "checkpoints", "last.ckpt").exists()
        go_on = f"go on: lightning-gen train run_dir={run_dir} resume=true" if saved else "nothing was saved before"
        return f", at {model.images_seen:,} images; {go_on}"

    return describe


def _names(peers: list[Peer]) -> str:
    return ", ".join(f"rank {p.rank} ({p.node}, pid {p.pid})" for p in peers)


def _status(process: Popen) -> int | None:
    try:
        return process.wait(timeout=GONE)
    except TimeoutExpired:
        return None


def _reason(status: int | None) -> str | None:
    """How a rank has died; None if it has said so itself."""
    if status is None:
        return "died"
    if status == -signal.SIGABRT:
        return "was killed by SIGABRT, as by NCCL after trainer.timeout minutes of waiting"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return None if status == 2 or status > 128 else f"ended with exit status {status}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # of another user, or a system without /proc
        return Path("/proc/self").exists() is False


def _start(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _end_with_parent(parent: int) -> None:
    """End this rank when the one that started it is gone, and it waits for it."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(GRACE)
    os._exit(2)


def _end_launched(trainer: ImageTrainer, error: BaseException | None) -> None:
    stopped = isinstance(error, SystemExit) and isinstance(error.code, int) and error.code >= 128  # all ranks save
    deadline = time.monotonic() + (ORDERLY if error is None or stopped else 0)
    for process in launched_processes(trainer):
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except TimeoutExpired:
            process.kill()
