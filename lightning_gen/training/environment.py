"""`environment.json` of a run folder: for each start of the run its command, code, packages and machine, and its end.

So a run can be told apart from one of other code, and repeated. Only files that git tracks are in the saved changes.
"""

import hashlib
import json
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from lightning_gen.config.plugins import CORE, Plugin, usable
from lightning_gen.errors import UserError
from lightning_gen.runs.record import ENVIRONMENT, starts_of
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.hardware import device_name, nvidia_driver
from lightning_gen.utilities.signals import Stopped

LARGEST_DIFF = 1_000_000  # characters of saved changes
GIT_SECONDS = 10  # that a call of git may take, on a slow file system


class EnvironmentFile:
    """The starts of a run, oldest first; one that can't be read or written is left as it is, and the run goes on."""

    def __init__(self, folder: Path):
        self.path = folder / ENVIRONMENT
        self._entry: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether the newest start has finished."""
        entries = self._read()
        return bool(entries) and entries[-1].get("outcome") == "finished"

    def begin(self, overrides: Sequence[str], names: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
        """Add an entry for this start, which is returned; `names` are those of its model and data, and its options."""
        plugins = [plugin for plugin in usable() if plugin.package != CORE]
        self._entry = {
            "command": ["lightning-gen", "train", *overrides],
            **names,
            "started": _now(),
            "cwd": str(Path.cwd()),
            **machine(device),
            "packages": packages(),
            "plugins": {plugin.name: plugin.version for plugin in plugins},
            "git": code_state(Path.cwd(), self.path.parent),
            "plugins_git": self._plugins_git(plugins),
        }
        self._write([*(self._read() or []), self._entry])
        return self._entry

    def end(self, error: BaseException | None) -> None:
        """Add the end of this start, by the exception that ended it."""
        if self._entry is None:
            return
        ended = {"ended": _now(), "outcome": outcome_of(error)}
        self._write([*(self._read() or [self._entry])[:-1], self._entry | ended])

    def _plugins_git(self, plugins: Sequence[Plugin]) -> dict[str, Any]:
        """The code of plugins that are used from a repository of their own."""
        if not plugins:
            return {}
        here = _repository(Path.cwd())
        own = [plugin for plugin in plugins if _repository(plugin.conf_dir) not in (None, here)]
        return {plugin.name: code_state(plugin.conf_dir, self.path.parent) for plugin in own}

    def _read(self) -> list[dict[str, Any]] | None:
        return starts_of(self.path.parent)

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if self.path.exists() and self._read() is None:
            return
        with suppress(OSError):
            atomic_write(self.path, json.dumps(entries, indent=1) + "\n")


def machine(device: torch.device) -> dict[str, Any]:
    """Host, system, Python, and the device with its driver."""
    driver = {"driver": nvidia_driver(), "cuda": torch.version.cuda} if device.type == "cuda" else {}
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "device": device.type,
        "device_name": device_name(device),
        **driver,
    }


def packages() -> dict[str, str]:
    """The versions of all installed distributions by name."""
    from importlib.metadata import distributions

    found = {}
    for distribution in distributions():
        with suppress(Exception):  # one that is cut short
            found[distribution.name] = distribution.version
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def code_state(place: Path, folder: Path) -> dict[str, Any] | None:
    """Commit and branch of the repository of `place`, with its changes in a file of `folder`; None without one."""
    commit = _git(place, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(place, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD") or ""
    untracked = _git(place, "ls-files", "--others", "--exclude-standard", ":(top)*.py", ":(top)*.yaml") or ""
    return {
        "commit": commit,
        "branch": _git(place, "branch", "--show-current"),
        "dirty": bool(changes),
        "diff": _save_changes(changes, folder),
        "untracked": untracked.splitlines()[:100],
    }


def _save_changes(changes: str, folder: Path) -> str | None:
    """The name of the file with these changes, which is named by what it holds; None without any, or of too many."""
    if not changes or len(changes) > LARGEST_DIFF:
        return None
    name = f"changes-{hashlib.sha256(changes.encode()).hexdigest()[:8]}.diff"
    with suppress(OSError):
        if not (folder / name).exists():
            atomic_write(folder / name, changes + "\n")
    return name


def _repository(place: Path) -> str | None:
    return _git(place, "rev-parse", "--show-toplevel")


def _git(place: Path, *arguments: str) -> str | None:
    """What a command of git prints; None where git or a repository is missing, or where it is too slow."""
    command = ["git", "--no-optional-locks", "-C", str(place), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip("\n") if done.returncode == 0 else None


def outcome_of(error: BaseException | None) -> str:
    """How a run ended, in a few words."""
    if error is None:
        return "finished"
    if isinstance(error, KeyboardInterrupt | Stopped | SystemExit):
        return "stopped"
    first = str(error).splitlines()[0] if str(error) else ""
    return f"failed: {first}" if isinstance(error, UserError) else f"failed: {type(error).__name__}: {first}"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
