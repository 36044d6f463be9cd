"""Run folders: one folder holds all of a run, belongs to one process at a time, and is never overwritten."""

import contextlib
import errno
import fcntl
import os
import weakref
from pathlib import Path
from typing import IO

from omegaconf import DictConfig, OmegaConf

from lightning_gen.errors import UserError
from lightning_gen.utilities.atomic_files import atomic_write


class Run:
    """The folder of a run; `claim` it before writing there.

    With `in_place` it must hold a run already, else it must not. Raises UserError where that isn't so.
    """

    def __init__(self, folder: str | Path, in_place: bool = False):
        self.folder = Path(folder).absolute()
        self.config_file = self.folder / "config.yaml"
        self.in_place = in_place
        self._check()

    def _check(self) -> None:
        if self.config_file.exists() and not self.in_place:
            raise UserError(
                f"run_dir={self.folder}: holds a run already; add resume=true to go on with it, or name another folder"
            )

    def claim(self) -> None:
        """Make the folder this process's until it ends, however it ends: the system lifts the lock.

        Raises UserError if another process has it, or if it can't be written.
        """
        try:
            self._found = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
            (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder / ".lock")
        except BlockingIOError:
            raise UserError(
                f"run_dir={self.folder}: another process is using it; wait, or name another folder"
            ) from None
        except OSError as error:
            reason = os.strerror(error.errno)
            raise UserError(f"run_dir={self.folder}: {reason}; name a folder that can be written") from error
        self._check()  # another process may have been faster

    def save_config(self, config: DictConfig) -> None:
        """Write `config.yaml`, every interpolation resolved: from now on the folder holds a run."""
        atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))

    def release(self) -> None:
        """Give the folder back; what was made for a run that never came to be is removed."""
        if not self.config_file.exists():
            for name in {".lock", "log.txt", "wandb_id.txt"} - self._found:
                (self.folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: a user's, or another process's
                if "checkpoints" not in self._found:
                    (self.folder / "checkpoints").rmdir()
                self.folder.rmdir()
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._lock.close()


_held: weakref.WeakSet[IO[str]] = weakref.WeakSet()
# A forked data worker would share the lock, and outlive a killed run by seconds.
os.register_at_fork(after_in_child=lambda: [file.close() for file in _held])


def _lock(path: Path) -> IO[str]:
    file = open(path, "w")  # noqa: SIM115 (held open as long as the claim)
    _held.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        # Some network file systems have no locks; a run there does without.
    return file
