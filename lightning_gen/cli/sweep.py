"""Sweeps (`-m`) that survive: each point has a folder of its name, so that the same command goes on with what is left.

`outputs/sweeps/<name>/<point>` is the run folder of a point, unless `run_dir` is typed, and `points/<point>.json` beside
it tells how far it is. All launchers of Hydra come here: they call `run_point` in processes of their own.
"""

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback

from lightning_gen.cli.launch import JobFailed, command_arguments, objective_of, run_child
from lightning_gen.config.composition import task_overrides
from lightning_gen.errors import UserError
from lightning_gen.runs.points import Point, hash_of, is_busy, name_of, read_points
from lightning_gen.runs.record import Run
from lightning_gen.utilities.atomic_files import place
from lightning_gen.utilities.launchers import SWEEP, is_first_process
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.signals import Stopped

if TYPE_CHECKING:
    from subprocess import Popen

    from omegaconf import DictConfig

OF_SWEEP = ("sweep", "launcher")  # keys that are of the sweep, and of none of its runs
LAUNCHERS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher"}  # packages in `hydra_plugins`
EVERY = 1.0  # seconds between looks at a run that another process works on


class Begun(Callback):
    """Hydra's callback that tells the folder of a multirun to the process that has started it."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: "DictConfig", **kwargs: Any) -> None:
        """Note the folder; have Slurm send the warning of a time limit that runs know."""
        Begun.folder = Path(config.hydra.sweep.dir)
        if config.hydra.runtime.choices.get("launcher") == "slurm":
            os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")


def check_words(overrides: Sequence[str]) -> None:
    """UserError for a name of a sweep that is no folder's name, or a launcher whose package is missing."""
    typed = dict(text.split("=", 1) for text in overrides if text.startswith(("sweep=", "launcher=")))
    name = typed.get("sweep", "null").strip("'\"")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"sweep={name}: its runs are in outputs/sweeps/NAME; give letters, digits and . _ + - alone")
    launcher = typed.get("launcher", "")
    if launcher in LAUNCHERS and not _is_installed(LAUNCHERS[launcher]):
        package = LAUNCHERS[launcher].replace("_", "-")
        fix = f"pip install 'lightning-gen[{launcher}]'"
        raise UserError(f"launcher={launcher}: the package {package} is missing; {fix}")


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec("hydra_plugins") is not None and find_spec(f"hydra_plugins.{package}") is not None


def check_single(config: "DictConfig", node: "DictConfig") -> None:
    """UserError if a single run has what only a multirun uses."""
    if config.get("sweep") is not None:
        raise UserError(f"sweep={config.sweep}: names a multirun, and this is a single run; add -m")
    if launcher := node.runtime.choices.get("launcher"):
        raise UserError(f"launcher={launcher}: starts the runs of a multirun, and this is a single run; add -m")


def run_point(
    config: "DictConfig", node: "DictConfig", flags: Sequence[str], typed: Sequence[str]
) -> tuple[int, float | None]:
    """Run a point of a sweep in a new process, or what is left of it; its exit status, and its objective.

    `typed` are the overrides of the command line, with the values of all points.
    """
    overrides, sweep = of_runs(task_overrides(node)), Path(node.sweep.dir)
    name = name_of(overrides, of_runs(typed))
    if _is_named_by_clock(config):
        config.run_dir = str(sweep / name)
    point = Point(name, overrides, config.run_dir, hash_of(of_runs(typed)))
    if is_first_process():  # the others of its run follow it
        _wait(sweep, point)
    if _is_done(point, config):
        print(f"job {node.job.num}: {name} is finished", flush=True)
        status = 0
    else:
        arguments = command_arguments("train", config, _going_on(point), flags)
        print(f"job {node.job.num}: lightning-gen {' '.join(arguments)}", flush=True)
        status = _run(sweep, point, arguments)
    _save(sweep, point, "failed" if status else "finished", exit_status=status)
    if status:
        print(f"job {node.job.num} failed with exit status {status}", file=sys.stderr, flush=True)
        return status, None
    return 0, objective_of(config)


def of_runs(overrides: Sequence[str]) -> list[str]:
    """The overrides without those of the sweep itself."""
    return [text for text in overrides if text.lstrip("+").partition("=")[0] not in OF_SWEEP]


def _is_named_by_clock(config: "DictConfig") -> bool:
    """Whether `run_dir` has its default."""
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=False)
    return "${run_id:}" in str(plain["run_dir"])


def _wait(sweep: Path, point: Point) -> None:
    """Return when no other process works on the point, as one that a killed sweep has left."""
    if is_busy(sweep, point):
        print(f"{point.name}: another process works on it, waiting for that one", flush=True)
    while is_busy(sweep, point):
        time.sleep(EVERY)


def _is_done(point: Point, config: "DictConfig") -> bool:
    """Whether its run has ended, with scores if the config asks for some."""
    return point.run.state == "finished" and bool(point.run.evaluations or not config.get("metrics"))


def _going_on(point: Point) -> list[str]:
    """The overrides of the run, so that it continues in its folder if it has begun."""
    others = [text for text in point.overrides if not text.lstrip("+").startswith("resume=")]
    if others == point.overrides:
        return [*others, "resume=auto"]
    return [*others, "resume=true"] if (Path(point.folder) / "config.yaml").is_file() else point.overrides


def _run(sweep: Path, point: Point, arguments: Sequence[str]) -> int:
    """The exit status of the point's run; its file names the process as soon as it is there."""

    def watch(process: "Popen") -> None:
        mine = f"{place()} {process.pid}"
        if point.process != mine:
            point.process = mine
            _save(sweep, point, "running")

    try:
        return run_child(arguments, {SWEEP: sweep.name}, watch)
    except Stopped as signal:
        _save(sweep, point, "stopped", exit_status=signal.status)
        raise


def _save(sweep: Path, point: Point, status: str, exit_status: int | None = None) -> None:
    """Write how far the point is; of several processes of a run the first one does."""
    if is_first_process():
        replace(point, status=status, exit_status=exit_status, scores=point.run.scores).save(sweep)


@dataclass
class Ended:
    """The end of a command line: its exit status."""

    status: int = 0


@contextmanager
def of_command(command: str, typed: Sequence[str]) -> Iterator[Ended]:
    """Within it Hydra runs a command line; if it was a multirun of `train`, its table and what has failed follow."""
    ended, Begun.folder = Ended(), None
    try:
        yield ended
    except Stopped:
        if command == "train" and Begun.folder and is_first_process():
            print(how_to_go_on(Begun.folder))
        raise
    except Exception as error:
        # Those of a launcher tell of processes that were killed.
        lost = type(error).__module__.partition(".")[0] in ("submitit", "joblib")
        if not Begun.folder or command != "train" or not (lost or isinstance(error, JobFailed)):
            raise
        if lost:
            print(printable(f"{type(error).__name__}: {str(error).splitlines()[0]}"), file=sys.stderr)
        ended.status = 1
    if command == "train" and Begun.folder and is_first_process():
        ended.status = max(ended.status, end(Begun.folder, typed))


def end(sweep: Path, typed: Sequence[str]) -> int:
    """Print the table of a sweep and what has failed of this command line; the exit status, 1 if anything has."""
    points = read_points(sweep)
    print_table([Path(point.folder) for point in points if (Path(point.folder) / "evaluation.json").is_file()])
    ours = [point for point in points if point.command == hash_of(of_runs(typed))]
    left = [point for point in ours if point.status != "finished"]
    if not left:
        print(f"sweep: {sweep}")
        return 0
    print(f"error: {len(left)} of {len(ours)} runs have not finished; {how_to_go_on(sweep)}:", file=sys.stderr)
    for point in left:
        reason = f"exit status {point.exit_status}" if point.status == "failed" else point.status
        print(printable(f"  {point.name}: {reason}; {point.folder}"), file=sys.stderr)
    return 1


def how_to_go_on(sweep: Path) -> str:
    """How to start again what is left of a sweep."""
    return f"the same command with sweep={sweep.name} runs what is left"


def print_table(folders: Sequence[Path]) -> None:
    """The scores of the runs, best first; runs that differ in their seed alone are one row."""
    from lightning_gen.evaluation.comparison import columns_of, compare, read_runs

    if not folders:
        return
    try:
        runs = read_runs(list(folders))
        columns = columns_of("", runs)
        objective = Run(folders[0], folders[0]).config.get("objective")
        print(compare(runs, columns, objective if objective in columns else None, force=False).text())
    except UserError as error:  # a folder that was changed meanwhile, or no scores
        print(printable(f"no table: {error}"), file=sys.stderr)
