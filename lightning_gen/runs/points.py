"""The points of a sweep: for each a file that tells how far its run is.

A file a point, and not a line of one file: processes on several hosts write them, and network file systems don't append
atomically.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from lightning_gen.runs.files import sound_json_of
from lightning_gen.runs.heartbeat import SILENT, is_running
from lightning_gen.runs.record import Run
from lightning_gen.utilities.atomic_files import atomic_write, is_alive, place

POINTS = "points"  # the folder of the files, in that of the sweep
LONGEST = 60  # characters of a name before its hash


@dataclass
class Point:
    """One point; `status` is running, finished, stopped or failed."""

    name: str
    overrides: list[str]
    folder: str
    command: str  # the hash of the command line that it belongs to
    status: str = "running"
    exit_status: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    process: str = field(default_factory=lambda: f"{place()} {os.getpid()}")

    @property
    def pid(self) -> int | None:
        """The number of its process, if that is one of this host."""
        owner, _, pid = self.process.partition(" ")
        return int(pid) if owner == place() and pid.isdecimal() and int(pid) > 1 else None

    @property
    def run(self) -> Run:
        """Its run, as its folder is now."""
        return Run(Path(self.folder), self.folder)

    def save(self, sweep: Path) -> None:
        """Write its file."""
        (sweep / POINTS).mkdir(parents=True, exist_ok=True)
        atomic_write(sweep / POINTS / f"{self.name}.json", json.dumps(asdict(self), indent=1) + "\n")


def read_points(sweep: Path) -> list[Point]:
    """The points of a sweep by name; files that are damaged are left out."""
    files = sorted((sweep / POINTS).glob("*.json"))
    return [point for point in map(_read, files) if point]


def _read(file: Path) -> Point | None:
    with suppress(TypeError):
        content = sound_json_of(file.parent, file.name)
        point = Point(**{key.name: content[key.name] for key in fields(Point) if key.name in content})
        texts = (point.name, point.folder, point.command, point.status, point.process)
        return point if all(isinstance(text, str) for text in texts) else None
    return None


def running_since(sweep: Path, since: float) -> list[int]:
    """The processes of this host that have been begun for points since then: numbers of older ones may be others'."""
    running = [point for point in read_points(sweep) if point.status == "running" and _written(sweep, point) >= since]
    return [point.pid for point in running if point.pid]


def _written(sweep: Path, point: Point) -> float:
    with suppress(OSError):
        return (sweep / POINTS / f"{point.name}.json").stat().st_mtime
    return 0.0


def is_busy(sweep: Path, point: Point) -> bool:
    """Whether another process works on the point: its run shows life, or was begun a moment ago and is being loaded."""
    if is_running(Path(point.folder)):
        return True
    found = _read(sweep / POINTS / f"{point.name}.json")
    if found is None or found.status != "running" or found.process == point.process or found.pid is None:
        return False
    return time.time() - _written(sweep, found) < SILENT and is_alive(found.pid)


def name_of(overrides: Sequence[str], constant: Collection[str]) -> str:
    """The name of a point: what varies in it, cleaned and shortened, and a hash of all its overrides.

    `constant` are the keys whose value is that of all points.

    >>> name_of(["model=vae", "model.optimizer.lr=0.1"], ["model"])
    'lr_0.1-c7f3df52'
    """
    varied = "-".join(_brief(text) for text in overrides if text.partition("=")[0] not in constant)
    return "-".join(filter(None, [varied[:LONGEST].rstrip("-_."), hash_of(overrides)]))


def find(points: Iterable[Point], overrides: Sequence[str]) -> Point | None:
    """The point with these overrides, in any order: its name may be of a version that named points differently."""
    wanted = hash_of(overrides)
    return next((point for point in points if hash_of(point.overrides) == wanted), None)


def hash_of(overrides: Iterable[str]) -> str:
    """Eight digits for overrides in any order."""
    return hashlib.blake2b("\n".join(sorted(overrides)).encode(), digest_size=4).hexdigest()


def _brief(override: str) -> str:
    """`optimizer@model.optimizer=sgd` as `optimizer_sgd`."""
    key, _, value = override.lstrip("+~").partition("=")
    last = re.split(r"[./@]", key)[-1]
    return re.sub(r"[^a-zA-Z0-9.+-]+", "_", f"{last}_{value}").strip("_.")
