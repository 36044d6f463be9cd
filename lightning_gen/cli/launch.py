"""Launching other processes of a command: the jobs of a multirun, and the ranks that Lightning starts."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_gen.config.composition import task_overrides
from lightning_gen.config.plugins import PACKAGE
from lightning_gen.config.text_values import quoted
from lightning_gen.errors import UserError
from lightning_gen.utilities.launchers import ANNOUNCED, RELAUNCHED, is_first_process
from lightning_gen.utilities.signals import Stopped, handled

if TYPE_CHECKING:
    from omegaconf import DictConfig

SCRIPT = str(PACKAGE / "__main__.py")
_PATH = re.compile(r"[\w.+-]*/[\w./+-]*", re.ASCII)  # text in Hydra's grammar, without quotes
EVERY = 2.0  # seconds between calls of `watch`
# In the environment of the first process, where they would make of its next command a rank.
LIGHTNING_SETS = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE")


class JobFailed(UserError):
    """A job of a multirun has failed."""


def command_arguments(
    command: str, config: "DictConfig", overrides: Sequence[str], flags: Sequence[str] = ()
) -> list[str]:
    """The arguments after `python -m lightning_gen` that do the same job in the same run folder."""
    arguments = [command, *flags, *overrides]
    if config.get("run_dir") is not None:  # its default name has the time in it
        arguments = [a for a in arguments if not a.lstrip("+").startswith("run_dir=")]
        is_plain = _PATH.fullmatch(config.run_dir)
        arguments.append(f"run_dir={config.run_dir if is_plain else quoted(config.run_dir)}")
    return arguments


def run_job(command: str, config: "DictConfig", node: "DictConfig", flags: Sequence[str]) -> int:
    """Run one job of a multirun in a new process; its exit status.

    Jobs share no memory, CUDA context, wandb run or process group, and one that fails does not stop the others.
    """
    arguments = command_arguments(command, config, task_overrides(node), flags)
    announce(node, arguments)
    return run_child(arguments)


def announce(node: "DictConfig", arguments: Sequence[str]) -> None:
    """Print the command line of a job of a multirun, before it is started."""
    print(f"job {node.job.num}: lightning-gen {shlex.join(arguments)}", flush=True)


def run_child(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    watch: Callable[[subprocess.Popen], None] | None = None,
) -> int:
    """The exit status of `python -m lightning_gen <arguments>`, 128 + N if signal N has killed it.

    `environment` are further variables, those that are set stay. `watch` is called at once and then every few seconds.
    A signal is passed on to the process; when it has saved and ended, raise Stopped.
    """
    # Set by `_full_errors` for this process only.
    inherited = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    own = {"LIGHTNING_GEN_PATH": _user_folders(), ANNOUNCED: "1"}
    return _run([sys.executable, SCRIPT, *arguments], {**(environment or {}), **inherited, **own}, watch)


def _run(
    command: Sequence[str], environment: dict[str, str], watch: Callable[[subprocess.Popen], None] | None = None
) -> int:
    received: list[int] = []
    processes: list[subprocess.Popen] = []

    def pass_on(number: int) -> None:
        received.append(number)
        for process in processes:
            process.send_signal(number)

    with handled(pass_on):
        processes.append(subprocess.Popen(command, env=environment))
        if received:  # before the job was there
            processes[0].send_signal(received[-1])
        status = _wait(processes[0], watch)
    if received:
        raise Stopped(received[-1])
    return status if status >= 0 else 128 - status


def _wait(process: subprocess.Popen, watch: Callable[[subprocess.Popen], None] | None) -> int:
    while watch:
        watch(process)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(EVERY)
    return process.wait()


def objective_of(config: "DictConfig") -> float | None:
    """The score that a sweeper optimizes: that of evaluation.json whose name is `objective`."""
    if not config.get("objective") or not config.get("run_dir"):
        return None
    path = Path(config.run_dir, "evaluation.json").expanduser()
    return json.loads(path.read_text())[-1]["scores"].get(config.objective) if path.is_file() else None


@contextmanager
def relaunchable(arguments: Sequence[str]) -> Iterator[None]:
    """Within it Lightning's launcher starts the other ranks as `python lightning_gen/__main__.py <arguments>`.

    Without `__main__.__spec__` the launcher runs the script `sys.argv[0]`: unlike `python -m`, it can keep the working
    folder from being searched first.
    """
    import __main__

    before = sys.argv, __main__.__spec__, dict(os.environ)
    sys.argv = [SCRIPT, *arguments]
    __main__.__spec__ = None
    os.environ[RELAUNCHED] = "1"
    os.environ["LIGHTNING_GEN_PATH"] = _user_folders()
    try:
        yield
    finally:
        sys.argv, __main__.__spec__, environment = before
        for name in (RELAUNCHED, "LIGHTNING_GEN_PATH", *LIGHTNING_SETS):
            os.environ.pop(name, None)
            if name in environment:
                os.environ[name] = environment[name]


def _user_folders() -> str:
    """Where other processes look for a user's own modules: beside the script that was started, and where."""
    import __main__

    if "LIGHTNING_GEN_PATH" in os.environ:  # a job that starts ranks
        return os.environ["LIGHTNING_GEN_PATH"]
    script = getattr(__main__, "__file__", None)
    folders = [os.path.dirname(os.path.abspath(script))] if script else []
    return os.pathsep.join(folder for folder in [*folders, os.getcwd()] if folder != str(PACKAGE))


def should_print_error() -> bool:
    """Whether this process prints its error: rank 0 always does, another rank only if rank 0 does not fail as well.

    A rank that Lightning launched waits a while for rank 0 to end with the same error.
    """
    if RELAUNCHED not in os.environ:  # one process, or torchrun, srun: all ranks read the same command line
        return is_first_process()
    parent = os.getppid()
    deadline = time.monotonic() + 15  # seconds, enough for a busy machine
    while time.monotonic() < deadline:
        if os.getppid() != parent:
            return False
        time.sleep(0.1)
    return True
