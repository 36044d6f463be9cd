"""Slurm jobs that are warned ahead of their time limit: once the run is saved, its first process queues the job again.

Slurm requeues a job by itself after a preemption, a lost node or `scontrol requeue`, but not one that reaches its time
limit. https://slurm.schedmd.com/sbatch.html, --signal and --requeue.
"""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_gen.utilities.launchers import is_first_process
from lightning_gen.utilities.signals import Stopped

log = logging.getLogger("lightning_gen")

SECONDS = 60  # that a call of scontrol may take
_WARNINGS = (signal.SIGUSR1, signal.SIGTERM)


@contextmanager
def requeued(wanted: bool) -> Iterator[None]:
    """Within it a warning of Slurm, which stops the run, queues its job again; the process then ends with status 0.

    SIGTERM is a warning only while Slurm counts the job as running: `scancel` and preemption send it too.
    """
    try:
        yield
    except (Stopped, SystemExit) as stopped:
        number = _signal_of(stopped)
        job = batch_job()
        if not wanted or job is None or number not in _WARNINGS:
            raise
        if number == signal.SIGTERM and _state(job) != "RUNNING":
            raise
        if not is_first_process():
            sys.exit(0)
        log.info("queued again: Slurm job %s continues this run", job)  # first: requeuing ends this process
        if problem := _scontrol("requeue", job)[1]:
            log.info("scontrol requeue %s failed: %s", job, problem)
            raise
        sys.exit(0)


def batch_job() -> str | None:
    """The Slurm job of this process as `scontrol` names it; None outside of a batch job."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else job


def _signal_of(stopped: BaseException) -> int | None:
    status = stopped.status if isinstance(stopped, Stopped) else getattr(stopped, "code", None)
    return status - 128 if isinstance(status, int) and status > 128 else None


def _state(job: str) -> str | None:
    state = re.search(r"JobState=(\w+)", _scontrol("show", "job", job)[0])
    return state[1] if state else None


def _scontrol(*arguments: str) -> tuple[str, str]:
    """The output of scontrol, and what went wrong, empty if nothing has."""
    try:
        done = subprocess.run(["scontrol", *arguments], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"
