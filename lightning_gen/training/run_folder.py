"""Run folders: all files of a run, for one process at a time, never overwritten."""

import contextlib
import errno
import fcntl
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from omegaconf import DictConfig, OmegaConf

from lightning_gen.config.containers import as_dict
from lightning_gen.config.run_options import OPTIONS
from lightning_gen.errors import UserError
from lightning_gen.runs.heartbeat import Heartbeat
from lightning_gen.training.environment import EnvironmentFile
from lightning_gen.utilities.atomic_files import atomic_write, remove_leftovers

# What a run writes besides its config: in a folder without one, it is somebody else's.
RESULTS = ("checkpoints", "samples", "generated", "metrics.csv", "evaluation.json", "environment.json", "report.html")
IDENTITIES = ("wandb_id.txt", "mlflow_run_id.txt", "trackio_name.txt")  # of the run on trackers
BEGUN = ("log.txt", "tensorboard", "wandb", *IDENTITIES)  # before the config; beside `.lock`, by a run killed then


class RunFolder:
    """The folder of a run; call `claim` before writing to it.

    Raises UserError for a folder that holds a run already, unless that run is continued (`in_place`), and for one with
    other files that a run would write to or replace.
    """

    def __init__(self, folder: str | Path, in_place: bool = False):
        self.path = Path(folder).absolute()
        self.config_file = self.path / "config.yaml"
        self.in_place = in_place
        self.environment = EnvironmentFile(self.path)
        self._config = ""  # once it is saved
        self._check_free()
        self._check_foreign()

    def _check_free(self) -> None:
        if self.config_file.exists() and not self.in_place:
            raise UserError(
                f"run_dir={self.path}: holds a run already; add resume=true to go on with it, or name another folder"
            )

    def _check_foreign(self) -> None:
        if self.in_place or not self.path.is_dir():
            return
        names = RESULTS if (self.path / ".lock").exists() else RESULTS + BEGUN
        if foreign := next((name for name in names if _has_content(self.path / name)), None):
            raise UserError(
                f"run_dir={self.path}: holds {foreign} and no config.yaml, so it is no run's folder; nothing in it is "
                "overwritten: name another folder"
            )

    def claim(self) -> None:
        """Lock the folder for this process until `release`, or until the process ends in any way.

        Raises UserError if another process has locked it, or if it cannot be written to.
        """
        try:
            self._made = not self.path.is_dir()
            self._names_before = set() if self._made else set(os.listdir(self.path))
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / ".lock")
        except BlockingIOError:
            raise UserError(f"run_dir={self.path}: another process is using it; wait, or name another folder") from None
        except OSError as error:
            raise UserError(f"run_dir={self.path}: {error.strerror}; name a folder that can be written") from error
        self._check_free()  # another process may have been faster
        for folder in (self.path, self.path / "checkpoints", self.path / "samples"):
            remove_leftovers(folder)
        self._heartbeat = Heartbeat(self.path)
        self._heartbeat.start()

    def save_config(self, config: DictConfig, options: Sequence[str] = ()) -> None:
        """Write `config.yaml`, with every interpolation resolved and the run's options: now the folder holds a run."""
        text = OmegaConf.to_yaml({**as_dict(config), OPTIONS: list(options)})
        atomic_write(self.config_file, text)
        self._config = text

    def release(self) -> None:
        """Unlock the folder; if no run has begun in it, remove what `claim` and the loggers have made.

        A config.yaml that was removed meanwhile is written again.
        """
        self._heartbeat.stop()
        if self._config and not self.config_file.exists():
            with contextlib.suppress(OSError):  # a full disk; checkpoints hold the config too
                self.path.mkdir(parents=True, exist_ok=True)
                atomic_write(self.config_file, self._config)
        elif not self.config_file.exists():
            for name in {".lock", "log.txt", *IDENTITIES} - self._names_before:
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: files of a user or another process
                if "checkpoints" not in self._names_before:
                    (self.path / "checkpoints").rmdir()
                if self._made:
                    self.path.rmdir()
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._lock.close()


def _has_content(path: Path) -> bool:
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except FileNotFoundError:
        return False


_lock_files: weakref.WeakSet[IO[str]] = weakref.WeakSet()


def _close_locks() -> None:
    for file in _lock_files:
        file.close()


# A forked data worker would share the lock, and outlive a killed run by seconds.
os.register_at_fork(after_in_child=_close_locks)


def _lock(path: Path) -> IO[str]:
    file = open(path, "a")  # noqa: SIM115 (held open as long as the claim)
    _lock_files.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        # Some network file systems have no locks: the run goes without one.
    return file
