"""Search for the settings of `train` with the best score, in trials that any number of workers share.

usage: lightning-gen tune objective=SCORE [OVERRIDE ...] space.KEY=VALUES ... [trials=50] [name=NAME] [prune=true]

OVERRIDE is one of `lightning-gen train`, such as model=dcgan. Quote what has brackets: 'space.lr=log(1e-5,1e-2)'. Keys:
  objective=SCORE   the score to optimize, a name from evaluation.json, on evaluation.split=val
  space.KEY=VALUES  what to try for a key of train: log(low,high), uniform(low,high), int(low,high) or choice(a,b,...);
                    an experiment's YAML file may have them as `space`
  trials=N          how many; with the same command and a larger N the search goes on
  name=NAME         its folder is outputs/tune/NAME; by default a name that is the same for the same command
  prune=false       let each trial train to its end; by default one ends early that is worse than the median of the
                    others, by val/SCORE in metrics.csv: GANs have it, other models with callbacks=[+scores]

The same command started again is another worker, at the same time or after Ctrl-C: it takes up trials that were stopped
or killed. docs/sweeps.md has more.
"""

import re
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lightning_gen.cli.search_space import (
    KINDS,
    Dimension,
    Value,
    as_overrides,
    default_values,
    flat,
    read_dimension,
    written_keys,
)
from lightning_gen.cli.study import SharedStudy, import_optuna
from lightning_gen.cli.sweep import print_table
from lightning_gen.cli.trial import run_trial
from lightning_gen.errors import UserError
from lightning_gen.runs.points import hash_of
from lightning_gen.training.requeue import batch_job, requeued
from lightning_gen.utilities.signals import Stopped

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OPTIONS = {"objective": "", "trials": "50", "name": "", "prune": "true"}
NOT_TAKEN = ("run_dir", "resume", "sweep", "launcher")
STATES = {"COMPLETE": "finished", "PRUNED": "ended early", "FAIL": "failed", "RUNNING": "running"}
EVERY = 2.0  # seconds between looks at the trials of other workers
IN_TABLE = 10  # trials
OF_FAILURES = 3  # trials that all fail before the search ends


@dataclass
class Search:
    """A command line."""

    objective: str
    trials: int
    name: str
    prune: bool
    overrides: list[str]  # of every trial
    space: dict[str, Dimension]
    default: dict[str, Value] = field(default_factory=dict)  # the values without the search

    @property
    def command(self) -> list[str]:
        """What makes it this search: all but the number of trials and the like."""
        values = [f"space.{key}={dimension.text}" for key, dimension in self.space.items()]
        return [f"objective={self.objective}", *self.overrides, *values]

    def of_trial(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial's run; under Slurm its worker queues the job again, not the run."""
        requeue = ["trainer.requeue=false"] if batch_job() else []
        return [*self.overrides, *as_overrides(values), f"objective={self.objective}", *requeue]


def run(arguments: list[str]) -> int:
    """Work on trials until there are enough, then print the result; 1 if none has a score."""
    import_optuna()
    search = _read(arguments)
    folder = Path("outputs/tune", search.name)
    study = SharedStudy(folder, search.command, search.space, search.default, lambda: _direction(search))
    try:
        with requeued(True):
            _work(study, search)
    except Stopped:
        print("the same command goes on with the trials that are left")
        raise
    _summarize(study, search)
    return 0 if study.finished() else 1


def _read(arguments: Sequence[str]) -> Search:
    """The search that a command line asks for, with what an experiment's file says of it."""
    from lightning_gen.config.composition import compose_unresolved

    options, typed, overrides = _parsed(arguments)
    config, node = compose_unresolved("train", overrides)
    of_file: Any = OmegaConf.to_container(config.space, resolve=True) if config.space else {}
    texts = dict(flat(of_file)) | typed
    if not texts:
        raise UserError(f"tune needs a search space: 'space.KEY=VALUES', where VALUES are {KINDS}")
    space = written_keys({key: read_dimension(key, text) for key, text in texts.items()}, overrides)
    if config.evaluation.split == "test":
        overrides.append("evaluation.split=val")
    search = Search(
        objective=options["objective"],
        trials=int(options["trials"]),
        name=options["name"],
        prune=options["prune"] == "true",
        overrides=overrides,
        space=space,
        default=default_values(space, config, node.runtime.choices),
    )
    search.name = search.name or f"{node.runtime.choices.model}-{hash_of(search.command)}"
    return search


def _parsed(arguments: Sequence[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Our keys, the texts of the space, and the overrides of `train`."""
    options, space, overrides = dict(OPTIONS), {}, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if key in OPTIONS and equals:
            options[key] = value
        elif key.startswith("space.") and equals:
            space[key.removeprefix("space.")] = value
        elif key in NOT_TAKEN or argument.startswith("-"):
            raise UserError(f"{argument}: tune starts its runs itself, each in a folder of its own; leave it out")
        else:
            overrides.append(argument)
    if not options["objective"]:
        raise UserError("tune needs objective=SCORE, a name from evaluation.json, such as kid/efficientnet_lite0")
    if not options["trials"].isdecimal() or int(options["trials"]) < 1:
        raise UserError(f"trials={options['trials']}: give a number from 1")
    if options["prune"] not in ("true", "false"):
        raise UserError(f"prune={options['prune']}: give true or false")
    if not re.fullmatch(r"(\w[\w.+-]*)?", options["name"]):
        raise UserError(
            f"name={options['name']}: its folder is outputs/tune/NAME; give letters, digits and . _ + - alone"
        )
    return options, space, overrides


def _direction(search: Search) -> str:
    """Whether lower or higher scores are better; UserError for a mistake in the command line, before any trial."""
    from lightning_gen.config.composition import compose
    from lightning_gen.training.objective import direction_of

    first = {key: search.default.get(key, dimension.first) for key, dimension in search.space.items()}
    print(f"tune: checks {' '.join(search.command)}", flush=True)
    return direction_of(compose(search.of_trial(first)))


def _work(study: SharedStudy, search: Search) -> None:
    """Run trials until there are enough, and none is left that another worker may still lose."""
    waits = False
    while True:
        claimed = study.claimed(search.trials)
        if claimed:
            trial, claim = claimed
            try:
                print(f"trial {trial.number}: {' '.join(as_overrides(trial.params))}", flush=True)
                told = run_trial(study, trial, search.of_trial(trial.params), search.objective, search.prune)
            finally:
                claim.stop()
            print(f"trial {trial.number}: {told}", flush=True)
            _check_failures(study)
        elif not study.running():
            return
        else:
            if not waits:
                print(f"waiting for {len(study.running())} trials of other workers", flush=True)
            waits = True
            time.sleep(EVERY)


def _check_failures(study: SharedStudy) -> None:
    states = [trial.state.name for trial in study.begun() if trial.state.name != "RUNNING"]
    if len(states) >= OF_FAILURES and set(states) == {"FAIL"}:
        raise UserError(f"all of the first {len(states)} trials have failed; their messages are above")


def _summarize(study: SharedStudy, search: Search) -> None:
    """Print the best trials, what mattered, and how to repeat the best one."""
    finished = study.finished()
    counts = Counter(STATES[trial.state.name] for trial in study.begun())
    print(f"{len(study.begun())} trials: {', '.join(f'{count} {state}' for state, count in counts.items())}")
    if not finished:
        return
    print_table([study.run_folder(trial.number) for trial in finished[:IN_TABLE]])
    if shares := study.importances():
        print("importance (PED-ANOVA): " + ", ".join(f"{key} {share:.2f}" for key, share in shares.items()))
    best = finished[0]
    print(f"best: trial {best.number}, {search.objective} {best.value:.5g}{_of_default(finished, search)}")
    print(f"run folder: {study.run_folder(best.number)}")
    typed = [text for text in search.overrides if text != "evaluation.split=val"]
    print(f"to repeat it: lightning-gen train {shlex.join([*typed, *as_overrides(best.params)])}")


def _of_default(finished: "Sequence[FrozenTrial]", search: Search) -> str:
    found = [trial for trial in finished if trial.params == search.default]
    return f"; the default values: {found[0].value:.5g}" if found else ""
