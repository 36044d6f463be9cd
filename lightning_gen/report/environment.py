"""Where and how a run was started, by `environment.json`; without it, by what its log and scores say."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightning_gen.report.settings import brief
from lightning_gen.runs.files import json_of
from lightning_gen.runs.record import ENVIRONMENT

MOST_BYTES = 8 * 2**20
MOST_STARTS = 20  # the newest
MOST_VERSIONS = 1_000
# Entries of a start that are shown as they are, by their titles.
_PLAIN = {
    "Device": ("device_name", "device", "devices"),
    "Driver": ("driver",),
    "CUDA": ("cuda",),
    "Python": ("python",),
    "System": ("platform",),
    "Host": ("host",),
}


@dataclass(frozen=True)
class StartRow:
    """One start of the run, as text."""

    command: str
    started: str
    ended: str
    outcome: str


@dataclass(frozen=True)
class Environment:
    """The machine and the code of the newest start, and all starts, the newest first."""

    rows: dict[str, str] = field(default_factory=dict)
    starts: list[StartRow] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)

    def ending(self, outcome: str, now: str) -> "Environment":
        """It with this end of the newest start, which is in environment.json only after the report."""
        newest, *older = self.starts or [None]
        if newest is None or newest.ended:
            return self
        return replace(self, starts=[replace(newest, ended=now, outcome=outcome), *older])


def read_environment(folder: Path) -> Environment:
    """The content of environment.json; ValueError, TypeError, ... for a file that holds something else."""
    entries = json_of(folder, ENVIRONMENT, MOST_BYTES)
    if not entries:
        return Environment()
    newest = dict(entries[-1])
    rows = {title: _first(newest, keys) for title, keys in _PLAIN.items()}
    rows |= {"Plugins": _versions(newest.get("plugins")), "Code": _code(newest.get("git"))}
    packages = {str(name): brief(version) for name, version in list(dict(newest.get("packages") or {}).items())}
    return Environment(
        {title: text for title, text in rows.items() if text},
        [_start(dict(entry)) for entry in reversed(entries[-MOST_STARTS:])],
        dict(list(packages.items())[:MOST_VERSIONS]),
    )


def _first(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    value = next((entry[key] for key in keys if entry.get(key)), "")
    return ", ".join(map(brief, value)) if isinstance(value, list) else brief(value)


def _versions(found: Any) -> str:
    return ", ".join(f"{name} {version}" for name, version in dict(found or {}).items())


def _code(git: Any) -> str:
    """Commit and branch of the working folder, and its changes."""
    if not git:
        return ""
    branch = f" on {git['branch']}" if git.get("branch") else ""
    changes = f", with changes ({git.get('diff') or 'not saved'})" if git.get("dirty") else ""
    return brief(f"git {str(git['commit'])[:12]}{branch}{changes}")


def _start(entry: Mapping[str, Any]) -> StartRow:
    command = entry.get("command") or []
    typed = shlex.join(map(str, command)) if isinstance(command, list) else str(command)
    started, ended = (str(entry.get(key) or "").replace("T", " ")[:19] for key in ("started", "ended"))
    return StartRow(typed[:4_000], started, ended, brief(entry.get("outcome") or ""))


def from_log(log: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Devices and precision by the log, and versions of packages by the protocol of the newest scores."""
    found = re.findall(r"^(\S+ x \d+, \S+); run folder: ", log, re.MULTILINE)
    rows = {"Trainer": found[-1]} if found else {}
    prefix = "versions."
    named = {key.removeprefix(prefix): value for key, value in versions.items() if key.startswith(prefix)}
    return rows | ({"Scored with": _versions(named)} if named else {})
