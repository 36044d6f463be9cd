"""Run folders: one folder holds all of a run, belongs to one process at a time, and is never overwritten."""

import errno
import fcntl
import os
from pathlib import Path
from typing import IO

from omegaconf import DictConfig, OmegaConf

from lightning_gen.errors import UserError
from lightning_gen.files import atomic_write


class Run:
    """The folder of a run, claimed for this process until it ends.

    The claim is a file lock, which the system lifts however the process ends; `resume` allows a folder that already
    holds a run. Raises UserError if the folder is taken, in use, or can't be written.
    """

    def __init__(self, folder: str | Path, resume: bool = False):
        self.folder = Path(folder).absolute()
        if resume and not self.config_file.is_file():
            raise UserError(f"run_dir={folder}: nothing to resume, there is no config.yaml; leave out resume=true")
        if not resume and self.config_file.exists():
            raise UserError(
                f"run_dir={folder}: holds a run already; add resume=true to go on with it, or name another folder"
            )
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder / ".lock")
        except BlockingIOError:
            raise UserError(
                f"run_dir={folder}: in use by another process; wait for it or name another folder"
            ) from None
        except OSError as error:
            raise UserError(
                f"run_dir={folder}: {os.strerror(error.errno)}; name a folder that can be written"
            ) from error

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    def save_config(self, config: DictConfig) -> None:
        """Write `config.yaml`, every interpolation resolved."""
        atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))

    def release(self) -> None:
        """Give the folder back before the process ends."""
        self._lock.close()


def _lock(path: Path) -> IO[str]:
    file = open(path, "w")  # noqa: SIM115 (held open as long as the claim)
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
