"""`again=RUN` repeats a run: what can't be repeated, and what differs from then: code, packages, plugins, machine.

The folder may be a stranger's: of its files only the config has an effect, checked as that of any saved run, and the
commands in its environment.json are not executed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lightning_gen.checkpoint import checkpoint_of, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY
from lightning_gen.runs.record import ENVIRONMENT, starts_of

MACHINE = ("python", "platform", "device", "device_name", "driver", "cuda")  # keys of an entry of environment.json
MOST = 12  # packages of other versions that are named
LONGEST = 80  # characters of a value


def check_repeatable(config: DictConfig, saved: Mapping[str, Any], origin: str) -> None:
    """UserError for a run that needs the weights of others, which a config does not hold.

    `config` is that of the new run: `codes=CHECKPOINT` may be typed again.
    """
    for key in ("init_from", "resume"):
        value = saved.get(key)
        if isinstance(value, str) and value != "auto":
            raise UserError(f"{origin}: began with {key}={_short(value)}; start with that again, in place of again=")
    if isinstance(saved["model"].get("codes"), Mapping) and not isinstance(config.model.get("codes"), str):
        raise UserError(f"{origin}: its codes came from a checkpoint; add codes=CHECKPOINT")


def facts_of(folder: Path) -> Mapping[str, Any] | None:
    """The facts in a checkpoint of the run, such as its data; None if it has none that can be read."""
    try:
        return read_checkpoint(checkpoint_of(folder, key="again"), key="again")[KEY]
    except UserError:
        return None


def differences(folder: Path, now: Mapping[str, Any]) -> list[str]:
    """A line for each thing that is not as at the last start of the run in `folder`; `now` is an entry of today."""
    starts = starts_of(folder)
    if starts is None:
        return [f"{folder} has no {ENVIRONMENT} that can be read: code, packages and machine can't be compared"]
    then = starts[-1]
    found = [
        *_of_code(then, now),
        *_of_versions(then, now, "plugins"),
        *_of_versions(then, now, "packages"),
        *_of_machine(then, now),
    ]
    return [f"differs from {folder}: {line}" for line in found] or [f"code, packages and machine are those of {folder}"]


def _of_machine(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in MACHINE:
        if then.get(key) != now.get(key):
            yield f"{key}: {_short(then.get(key))} then, {_short(now.get(key))} now"


def _of_code(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Of the working folder, and of plugins with a repository of their own."""
    yield from _of_repository("code", then.get("git"), now.get("git"))
    before, today = _mapping(then.get("plugins_git")), _mapping(now.get("plugins_git"))
    for name in sorted({**before, **today}):
        yield from _of_repository(f"code of the plugin {_short(name)}", before.get(name), today.get(name))


def _of_repository(what: str, then: Any, now: Any) -> Iterator[str]:
    before, today = _mapping(then), _mapping(now)
    if before.get("commit") != today.get("commit"):
        commits = [_short(state.get("commit") or "no repository")[:12] for state in (before, today)]
        yield f"{what}: commit {commits[0]} then, {commits[1]} now"
    if _changes(before) != _changes(today):
        yield f"{what}: {_changes(before)} then, {_changes(today)} now"


def _changes(state: Mapping[str, Any]) -> str:
    """The changes since a commit: the name of their file has the hash of what it holds."""
    if not state.get("dirty"):
        return "no changes to it"
    return f"changes in {_short(state.get('diff') or 'too many lines to keep')}"


def _of_versions(then: Mapping[str, Any], now: Mapping[str, Any], key: str) -> Iterator[str]:
    before, today = _mapping(then.get(key)), _mapping(now.get(key))
    changed = [name for name in sorted({**before, **today}, key=str) if before.get(name) != today.get(name)]
    versions = [f"{_short(name)} {_version(before, name)} -> {_version(today, name)}" for name in changed[:MOST]]
    if changed:
        more = f", and {len(changed) - MOST} more" if len(changed) > MOST else ""
        yield f"{key}: {', '.join(versions)}{more}"


def _version(versions: Mapping[str, Any], name: str) -> str:
    return _short(versions.get(name, "absent"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(value: Any) -> str:
    return text if len(text := str(value)) <= LONGEST else f"{text[: LONGEST - 3]}..."
