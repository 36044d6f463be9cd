"""One trial of `lightning-gen tune`: a training in a process of its own, ended early where it is worse than others."""

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_gen.cli.launch import run_child
from lightning_gen.cli.study import SharedStudy
from lightning_gen.errors import UserError
from lightning_gen.runs.heartbeat import is_running
from lightning_gen.runs.record import Run
from lightning_gen.utilities.launchers import SWEEP

if TYPE_CHECKING:
    from subprocess import Popen

    from optuna.trial import Trial


class Pruner:
    """Reports the scores of a run's validations, as they come, to its trial, and ends a run that is worse than the
    median of the others at its validation.
    """

    def __init__(self, trial: "Trial", metrics: Path, column: str):
        self.trial, self.metrics, self.column = trial, metrics, column
        self.pruned = False
        known = trial.study.get_trials(deepcopy=False)[trial.number]
        self._reported = len(known.intermediate_values)  # by a worker that was killed

    def watch(self, process: "Popen") -> None:
        """Look at the run."""
        scores = scores_of(self.metrics, self.column)
        if self.pruned or len(scores) <= self._reported:
            return
        for step in range(self._reported, len(scores)):
            self.trial.report(scores[step], step)
        self._reported = len(scores)
        if self.trial.should_prune():
            self.pruned = True
            process.terminate()  # it saves and ends


def scores_of(metrics: Path, column: str) -> list[float]:
    """The values of a column of metrics.csv; of a row that is being written there is none."""
    with suppress(OSError, ValueError, csv.Error), open(metrics, newline="") as file:
        rows = csv.DictReader(line for line in file if line.endswith("\n"))
        return [float(row[column]) for row in rows if row.get(column)]
    return []


def run_trial(study: SharedStudy, trial: "Trial", overrides: Sequence[str], objective: str, prune: bool) -> str:
    """Run a trial, or what is left of it, and tell its end to the study; a line about it.

    UserError if its run has been scored without `objective`.
    """
    folder = study.run_folder(trial.number)
    pruner = Pruner(trial, folder / "metrics.csv", f"val/{objective}")
    status = 0
    if Run(folder, str(folder)).state != "finished":
        arguments = ["train", *overrides, "resume=auto", f"run_dir={folder}"]
        status = run_child(arguments, {SWEEP: study.name}, pruner.watch if prune else None)
    run = Run(folder, str(folder))
    if not status:
        return _scored(study, trial.number, run, objective)
    if pruner.pruned:
        study.tell(trial.number, "PRUNED")
        return f"ended at {run.images or 0:,} images, worse than the median of the others"
    if is_running(folder):
        return "another process works on it"
    study.tell(trial.number, "FAIL")
    return f"failed with exit status {status}"


def _scored(study: SharedStudy, number: int, run: Run, objective: str) -> str:
    value = run.scores.get(objective)
    if value is not None:
        study.tell(number, "COMPLETE", value)
        return f"{objective} {value:.5g}"
    study.tell(number, "FAIL")
    if not run.evaluations or objective not in run.evaluations[-1]["scores"]:
        raise UserError(
            f"objective={objective}: {run.path} has no such score; it has {', '.join(run.scores) or 'none'}"
        )
    return f"failed, {objective} is no number"
