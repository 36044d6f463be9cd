"""Sweeps (`-m`) that survive: each point has a folder of its name, so the same command goes on with what is left.

`outputs/sweeps/<name>/<point>` is the run folder of a point, unless `run_dir` is typed; `points/<point>.json` beside it
tells how far it is. All launchers of Hydra come here: they call `run_point` in processes of their own.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback

from lightning_gen.cli.launch import JobFailed, announce, command_arguments, objective_of, run_child
from lightning_gen.config.composition import task_overrides
from lightning_gen.errors import UserError
from lightning_gen.runs.points import Point, find, hash_of, is_busy, name_of, read_points, running_since
from lightning_gen.runs.record import Run
from lightning_gen.utilities.atomic_files import is_alive, place
from lightning_gen.utilities.launchers import SWEEP, is_first_process
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.signals import ENDING, Stopped, handled, stop

if TYPE_CHECKING:
    from subprocess import Popen

    from omegaconf import DictConfig

OF_SWEEP = ("sweep", "launcher")  # keys of the sweep itself, which its runs do not get
EVERY = 1.0  # seconds between looks at a run that another process works on


class Begun(Callback):
    """Hydra's callback that tells the folder of a multirun to the process that has started it."""

    folder: ClassVar[Path | None] = None
    launcher: ClassVar[str] = ""
    time: ClassVar[float] = 0.0  # of its beginning

    def on_multirun_start(self, config: "DictConfig", **kwargs: Any) -> None:
        """Note the folder; have Slurm send the warning of a time limit that runs know."""
        choices, Begun.time = config.hydra.runtime.choices, time.time()
        Begun.folder, Begun.launcher = Path(config.hydra.sweep.dir), choices["hydra/launcher"]
        if choices.get("launcher") == "slurm":
            os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")


def run_point(
    config: "DictConfig", node: "DictConfig", flags: Sequence[str], typed: Sequence[str]
) -> tuple[int, float | None]:
    """Run a point of a sweep in a new process, or what is left of it; its exit status, and its objective.

    `typed` are the overrides of the command line, with the values of all points.
    """
    overrides, sweep = of_runs(task_overrides(node)), Path(node.sweep.dir)
    known = find(read_points(sweep), overrides)
    name = known.name if known else name_of(overrides, _constant(typed))
    is_ours = _is_named_by_clock(config)
    if is_ours:
        config.run_dir = str(sweep / name)
    point = Point(name, overrides, config.run_dir, hash_of(of_runs(typed)))
    if is_first_process():  # the others of its run follow it
        _wait(sweep, point)
    others = read_points(sweep)
    is_ours |= any(other.name == name for other in others)
    if any(other.folder == point.folder and other.name != name for other in others):  # a `run_dir` that is typed
        print(f"error: run_dir={point.folder}: another run of this sweep has it; add what varies", file=sys.stderr)
        point.folder, status = "", 2
    elif is_ours and _is_done(point, config):
        print(f"job {node.job.num}: {name} is finished", flush=True)
        status = 0
    else:
        arguments = command_arguments("train", config, _going_on(point) if is_ours else overrides, flags)
        announce(node, arguments)
        status = _run(sweep, point, arguments)
    _save(sweep, point, _name_of(status), exit_status=status)
    return status, None if status else objective_of(config)


def _name_of(status: int) -> str:
    if status == 0:
        return "finished"
    return "stopped" if status - 128 in ENDING else "failed"


def of_runs(overrides: Sequence[str]) -> list[str]:
    """The overrides without those of the sweep itself."""
    return [text for text in overrides if text.lstrip("+").partition("=")[0] not in OF_SWEEP]


def _constant(typed: Sequence[str]) -> list[str]:
    """The keys of a command line whose value is the same in all runs of the multirun."""
    parsed = OverridesParser.create().parse_overrides(list(typed))
    return [override.get_key_element() for override in parsed if not override.is_sweep_override()]


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
        with handled(_stop):
            yield ended
    except Stopped as signal:
        if command == "train" and Begun.folder:
            signal.args = (f"{signal}; {how_to_go_on(Begun.folder)}",)
        raise
    except Exception as error:
        # Those of a launcher tell of processes that were killed.
        lost = type(error).__module__.partition(".")[0] in ("submitit", "joblib")
        if not Begun.folder or command != "train" or not (lost or isinstance(error, JobFailed)):
            raise
        if lost:
            print(printable(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"), file=sys.stderr)
        ended.status = 1
    if command == "train" and Begun.folder and is_first_process():
        ended.status = max(ended.status, end(Begun.folder, typed))


def _stop(number: int) -> None:
    """End by a signal: joblib would kill the runs that it has started, so they are told, and waited for, before."""
    if Begun.folder and Begun.launcher == "joblib":
        running = running_since(Begun.folder, Begun.time)
        for pid in running:
            with suppress(OSError):
                os.kill(pid, number)
        while any(map(is_alive, running)):
            time.sleep(EVERY)
    stop(number)


def end(sweep: Path, typed: Sequence[str]) -> int:
    """Print the table of a sweep and what has failed of this command line; the exit status, 1 if anything has."""
    points = read_points(sweep)
    folders = [Path(point.folder) for point in points if point.folder]
    print_table([folder for folder in folders if (folder / "evaluation.json").is_file()])
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
        objective = Run(folders[0], str(folders[0])).config.get("objective")
        print(compare(runs, columns, objective if objective in columns else None, force=False).text())
    except UserError as error:  # a folder that was changed meanwhile, or no scores
        print(printable(f"no table: {error}"), file=sys.stderr)
