"""An Optuna study that any number of workers share: its journal, and who works on which trial.

Optuna alone would leave the trial of a killed worker RUNNING for ever: its heartbeats need a database server. Here each
worker claims its trial by a file that it touches, and a trial without a claim is taken up again, in its run folder.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_gen.cli.search_space import Dimension, Value
from lightning_gen.errors import UserError, missing_package
from lightning_gen.runs.heartbeat import Heartbeat, is_running
from lightning_gen.utilities.compat import trial_of_study

if TYPE_CHECKING:
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, Trial

COMMAND = "command"  # the attribute of a study with the command line that it is of
STARTUP = 5  # trials that finish before any is pruned
DIRECTIONS = {"lower": "minimize", "higher": "maximize"}


class SharedStudy:
    """The study in a folder, made if there is none: only then `direction()` is asked which scores are better.

    `default` are the values to try first. Raises UserError for the study of another command, or without Optuna.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        space: Mapping[str, Dimension],
        default: Mapping[str, Value],
        direction: Callable[[], str],
    ):
        optuna = import_optuna()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        self.folder, self.name = folder, folder.name
        self._space = {key: dimension.distribution() for key, dimension in space.items()}
        self._pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1)
        journal = folder / "journal.log"
        way = "" if journal.exists() else DIRECTIONS[direction()]  # before anything is made
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = JournalFileOpenLock(str(folder / "trials"))
        storage = JournalStorage(JournalFileBackend(str(journal), JournalFileOpenLock(str(journal))))
        with self._locked():
            if self.name not in optuna.get_all_study_names(storage):
                way = way or DIRECTIONS[direction()]
                study = optuna.create_study(storage=storage, study_name=self.name, direction=way)
                study.set_user_attr(COMMAND, list(command))
                if default:
                    study.enqueue_trial(dict(default))
            self.study = optuna.load_study(study_name=self.name, storage=storage, pruner=self._pruner)
        known = self.study.user_attrs.get(COMMAND)
        if known != list(command):
            fix = f"it is `lightning-gen tune {' '.join(known or [])}`; give another name=NAME"
            raise UserError(f"name={self.name}: {folder} holds the study of another command, {fix}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Within it no other worker is."""
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def claimed(self, most: int) -> "tuple[Trial, Heartbeat] | None":
        """A trial that nobody works on, an old one or a new one, and its claim, to be stopped at its end.

        None if there are `most` trials, and others work on all that are not finished.
        """
        with self._locked():
            left = [trial for trial in self.running() if not self._is_busy(trial.number)]
            for trial in left:
                if trial.params.keys() != self._space.keys():  # its worker was killed in `ask`
                    self.tell(trial.number, "FAIL")
            number = next((trial.number for trial in left if trial.params.keys() == self._space.keys()), None)
            if number is None and len(self.begun()) >= most:
                return None
            trial = self._new() if number is None else trial_of_study(self.study, number)
            claim = Heartbeat(self._claim(trial.number))
            claim.path.parent.mkdir(parents=True, exist_ok=True)
            claim.start()
        return trial, claim

    def _new(self) -> "Trial":
        """A new trial; its values depend on the earlier ones alone, and differ from those of trials that run."""
        from optuna.samplers import TPESampler

        self.study.sampler = TPESampler(seed=len(self.begun()), constant_liar=True)
        return self.study.ask(self._space)

    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """The end of a trial: COMPLETE with its score, PRUNED or FAIL."""
        from optuna.trial import TrialState

        self.study.tell(number, value, state=TrialState[state])

    def _claim(self, number: int) -> Path:
        return self.folder / "claims" / str(number)

    def run_folder(self, number: int) -> Path:
        """That of a trial."""
        return self.folder / f"trial_{number:03}"

    def _is_busy(self, number: int) -> bool:
        """Whether a worker has claimed the trial, or the run that a killed one has started goes on."""
        return is_running(self._claim(number)) or is_running(self.run_folder(number))

    def begun(self) -> "list[FrozenTrial]":
        """All trials but those that wait in the queue."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name != "WAITING"]

    def running(self) -> "list[FrozenTrial]":
        """Those that have no end yet."""
        return [trial for trial in self.begun() if trial.state.name == "RUNNING"]

    def finished(self) -> "list[FrozenTrial]":
        """Those with a score, best first."""
        found = [trial for trial in self.begun() if trial.state.name == "COMPLETE"]
        return sorted(found, key=lambda trial: trial.value or 0.0, reverse=self.direction.name == "MAXIMIZE")

    @property
    def direction(self) -> "StudyDirection":
        return self.study.direction

    def importances(self) -> dict[str, float]:
        """The share of each key in how much the scores vary, largest first; empty of too few trials.

        PED-ANOVA, https://arxiv.org/abs/2304.10255, which needs no other package.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        if len(self._space) < 2 or len(self.finished()) < 2 * STARTUP:
            return {}
        try:
            return get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):  # all scores are the same
            return {}


def import_optuna() -> Any:
    """Optuna, which tells only of mistakes. UserError if it is not installed."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise missing_package("tune", "optuna", "tune") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
