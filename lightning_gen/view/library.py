"""The runs below the folders that are shown, read again when their files have changed."""

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lightning_gen.runs.files import inside, names_in
from lightning_gen.runs.heartbeat import HEARTBEAT
from lightning_gen.runs.record import ENVIRONMENT, SCORES, Run, find_runs

EVERY = 1.0  # seconds between two searches for runs
MOST_RUNS = 5_000
# The files by which a run is listed.
FILES = ("config.yaml", ENVIRONMENT, SCORES, "metrics.csv", HEARTBEAT)

Signature = tuple[tuple[int, int] | None, ...]


def address(run: Run) -> str:
    """The name of a run in addresses: no path of a request is ever opened."""
    return hashlib.blake2b(os.fsencode(run.path), digest_size=8).hexdigest()


class Library:
    """The runs in `folders`; those whose files are links to outside of their folder are left out."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = [folder.absolute() for folder in folders]
        self.left_out = 0
        self._known: dict[Path, tuple[Signature, Run]] = {}
        self._runs: dict[str, Run] = {}
        self._searched = -EVERY
        self._lock = threading.Lock()

    def runs(self) -> dict[str, Run]:
        """All runs by their addresses, the newest first."""
        with self._lock:
            if time.monotonic() - self._searched >= EVERY:
                self._search()
                self._searched = time.monotonic()
            return self._runs

    def run(self, name: str) -> Run | None:
        """The run with an address; None if there is none, or none inside of the folders any more."""
        run = self.runs().get(name)
        return run if run and self._is_inside(run) else None

    def checkpoints(self, run: Run) -> list[str]:
        """The names of its checkpoints, the best one first."""
        names = [name for name in names_in(run.path, "checkpoints") if name.endswith(".ckpt")]
        return sorted(names, key=lambda name: (name != "best.ckpt", name != "last.ckpt", name))

    def checkpoint(self, run: Run, name: str) -> Path | None:
        """The file of a checkpoint of a run; None if there is none of this name inside of its folder."""
        return inside(run.path, f"checkpoints/{name}") if name in self.checkpoints(run) else None

    def _search(self) -> None:
        found = list({run.path: run for folder in self.folders for run in find_runs(folder)}.values())[:MOST_RUNS]
        sound = [run for run in found if _is_sound(run.path)]
        self.left_out = len(found) - len(sound)
        self._known = {run.path: self._current(run) for run in sound}
        runs = sorted((run for _, run in self._known.values()), key=lambda run: run.started, reverse=True)
        self._runs = {address(run): run for run in runs}

    def _current(self, run: Run) -> tuple[Signature, Run]:
        """The run as it was read before, unless its files have changed since or it is alive."""
        signature = tuple(_stamp(run.path / name) for name in FILES)
        known = self._known.get(run.path)
        is_same = known is not None and known[0] == signature and signature[-1] is None
        return known if known is not None and is_same else (signature, run)

    def _is_inside(self, run: Run) -> bool:
        try:
            path = run.path.resolve(strict=True)
        except (OSError, RuntimeError):
            return False
        return any(path.is_relative_to(folder.resolve()) for folder in self.folders)

    def title(self, run: Run) -> str:
        """Its path below the folder that it was found in."""
        folder = next((folder for folder in self.folders if run.path.is_relative_to(folder)), run.path)
        inner = run.path.relative_to(folder)
        return str(inner) if inner.parts else run.path.name


def _is_sound(folder: Path) -> bool:
    """Whether all files by which a run is listed are regular ones inside of its folder."""
    try:
        with os.scandir(folder) as entries:
            listed = [entry for entry in entries if entry.name in FILES]
    except OSError:
        return False
    return all(entry.is_file(follow_symlinks=False) or inside(folder, entry.name) for entry in listed)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
