"""A run's sign of life: a file in its folder that names its process, touched by it and removed at its end."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from lightning_gen.utilities.atomic_files import is_alive, place

HEARTBEAT = ".heartbeat"
EVERY = 30.0  # seconds between touches
SILENT = 120.0  # seconds without one, after which a process of another host counts as ended


class Heartbeat:
    """Touches the file in a run folder from a thread, from `start` to `stop`, which removes it."""

    def __init__(self, folder: Path, every: float = EVERY):
        self.path = folder / HEARTBEAT
        self.every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")

    def start(self) -> None:
        """Write this process's name into the file, and begin."""
        with suppress(OSError):
            self.path.write_text(f"{place()} {os.getpid()}\n")
        self._thread.start()

    def stop(self) -> None:
        """End, and remove the file."""
        self._ended.set()
        self._thread.join()
        with suppress(OSError):
            self.path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(self.every):
            with suppress(OSError):  # the folder is gone
                os.utime(self.path)


def is_running(folder: Path) -> bool:
    """Whether a process of this host trains in the folder, or one of another host has lately shown life."""
    file = folder / HEARTBEAT
    try:
        touched = file.stat().st_mtime
        if time.time() - touched > SILENT:
            return False
        owner, _, pid = file.read_text().strip().partition(" ")
    except OSError:
        return False
    return is_alive(int(pid)) if owner == place() and pid.isdigit() else bool(owner)
