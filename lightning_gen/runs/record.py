"""What a run folder tells about its run, by its plain files; nothing is imported that takes time."""

import csv
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_gen.config.run_options import OPTIONS, chosen_option
from lightning_gen.runs.files import MOST_BYTES, inside, sound_json_of
from lightning_gen.runs.heartbeat import HEARTBEAT, is_running

ENVIRONMENT = "environment.json"
SCORES = "evaluation.json"
# Where no run is found, with the command in the place of {}.
ELSEWHERE = "name other folders, as in lightning-gen {} ., or start a run with lightning-gen train"
TAIL = 65_536  # bytes at the end of metrics.csv in which the newest row is


@dataclass(frozen=True)
class Run:
    """One run folder; `name` is its path as it was found. Files that are missing or damaged leave values out."""

    path: Path
    name: str = field(compare=False)

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        """The entries of environment.json, oldest first."""
        return starts_of(self.path) or []

    @cached_property
    def outcome(self) -> str:
        """`running`, or how the last start has ended, with the reason: `failed: OSError: no space`; `-` if unknown."""
        if inside(self.path, HEARTBEAT) and is_running(self.path):
            return "running"
        if not self.starts:  # of a version without environment.json
            return "finished" if self.scores else "-"
        return str(self.starts[-1].get("outcome") or "killed")

    @property
    def state(self) -> str:
        """The outcome without its reason: `running`, `finished`, `stopped`, `failed`, `killed` or `-`."""
        return self.outcome.partition(":")[0]

    @cached_property
    def model(self) -> str:
        """The option of the model, else its class."""
        return self._chosen("model")

    @cached_property
    def data(self) -> str:
        """The option of the data, else their name."""
        return self._chosen("data")

    def _chosen(self, group: str) -> str:
        newest = self.starts[-1] if self.starts else {}
        return chosen_option(group, newest.get(OPTIONS)) or str(newest.get(group, "-"))

    @cached_property
    def started(self) -> str:
        """Time of the first start, ISO 8601; empty if unknown."""
        return str(self.starts[0].get("started", "")) if self.starts else ""

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The entries of evaluation.json, newest last."""
        entries = sound_json_of(self.path, SCORES)
        if not isinstance(entries, list):
            return []
        return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("scores"), dict)]

    @cached_property
    def scores(self) -> dict[str, float]:
        """The newest value of each score, of samples drawn as in training."""
        own = [entry for entry in self.evaluations if not variant_of(entry.get("protocol"))]
        pairs = [pair for entry in own for pair in entry["scores"].items()]
        return {name: float(value) for name, value in pairs if _is_number(value)}

    @cached_property
    def better(self) -> dict[str, str]:
        """For each score whether `lower` or `higher` is better."""
        return {name: way for entry in self.evaluations for name, way in (entry.get("better") or {}).items()}

    @cached_property
    def images(self) -> int | None:
        """Images seen, by the newest row of metrics.csv; None if there is none."""
        path = inside(self.path, "metrics.csv")
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                head = file.readline(MOST_BYTES).decode()
                file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - TAIL))
                last = file.read(TAIL).decode(errors="replace").strip().rpartition("\n")[2]
            return int(dict(zip(*csv.reader([head, last]), strict=False))["images"])
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            return None

    @cached_property
    def size(self) -> int:
        """Bytes of its files; those that links point to are not counted."""
        return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(self.path))

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.yaml; empty if it is damaged."""
        from lightning_gen.config.saved import plain_yaml
        from lightning_gen.errors import UserError

        try:
            content = plain_yaml(self.path / "config.yaml", str(self.path))
        except UserError:
            return {}
        return content if isinstance(content, dict) else {}


def _is_number(value: Any) -> bool:
    """Whether it is a number, and no integer of more digits than a float takes."""
    return isinstance(value, int | float) and not abs(value) > sys.float_info.max


def variant_of(protocol: Any) -> dict[str, Any]:
    """What scores were made with that training does not use: the `prior` by its name, truncation, temperature."""
    if not isinstance(protocol, Mapping):
        return {}
    prior, sampling = protocol.get("prior"), protocol.get("sampling")
    chosen = {"prior": prior.get("name", "")} if isinstance(prior, Mapping) and prior else {}
    return chosen | (dict(sampling) if isinstance(sampling, Mapping) else {})


def find_runs(folder: Path) -> Iterator[Run]:
    """The runs in a folder and those below it, or the folder itself; links are not followed."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        if "config.yaml" in files and ("checkpoints" in folders or ENVIRONMENT in files):
            folders.clear()
            yield Run(Path(parent), parent)


def starts_of(folder: Path) -> list[dict[str, Any]] | None:
    """The entries of a folder's environment.json, oldest first; None if there is none that can be read."""
    entries = sound_json_of(folder, ENVIRONMENT)
    valid = isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)
    return entries if valid else None


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry
