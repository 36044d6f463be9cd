"""Configs that come from files, such as checkpoints: only what is installed may be named in them.

A file may be a stranger's. So before anything it names is imported, each `_target_` must be one that the YAML files of
lightning-gen or of an installed plugin name, for the same part of a run; `trusting` adds packages of the user's own.
Interpolations, such as `${oc.env:SECRET}`, are refused: whatever we save is resolved already.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from lightning_gen.config.plugins import usable
from lightning_gen.config.validation import check_saved_keys, yaml_content, yaml_mistake
from lightning_gen.errors import UserError
from lightning_gen.utilities.renames import current_name

# Parts of a run that do more than compute: what makes one of them stands nowhere else in a config.
SEPARATE_GROUPS = {"callbacks", "data", "extractor", "logger", "metrics", "trainer"}
MAX_NODES = 100_000  # mappings that share their parts can describe more than any memory holds
MAX_BYTES = 2**20  # of a YAML file
FIX = "its checkpoints have the config too: resume=CHECKPOINT with a new run_dir"

_TARGET = re.compile(r"""_target_["']?\s*:\s*["']?([A-Za-z_][\w.]*)""")
_SHA256 = re.compile(r"""sha256["']?\s*:\s*["']?([0-9a-f]{8,64})""")
_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


@contextmanager
def trusting(packages: str | Sequence[str]) -> Iterator[None]:
    """Within it files may also name what is in these packages or modules, or has exactly one of these names."""
    added = (packages,) if isinstance(packages, str) else tuple(packages)
    token = _trusted.set(_trusted.get() + added)
    try:
        yield
    finally:
        _trusted.reset(token)


def trusted_packages() -> tuple[str, ...]:
    """The packages of the `trusting` blocks around the caller."""
    return _trusted.get()


def check_saved(config: Any, origin: str, path: str = "") -> None:
    """Raise UserError unless `config`, plain data from a file, names installed targets alone and no interpolation.

    `origin` is the file as a user gave it (`checkpoint=my.ckpt`), and `path` the place of `config` in a run's config.
    """
    installed = installed_targets()
    unknown = []
    for count, (where, key, value) in enumerate(leaves(config, path)):
        if count > MAX_NODES:
            raise UserError(f"{origin}: refused, its config has more than {MAX_NODES:,} values")
        if any(isinstance(text, str) and "${" in text for text in (key, value)):
            raise UserError(
                f"{origin}: refused, {where} of its config is an interpolation, {_short(value)}, which a saved "
                "config never has; use a file that lightning-gen wrote"
            )
        if key == "_target_" and not _is_trusted(value):
            groups = installed.get(current_name(str(value)), set())
            if where.partition(".")[0] not in groups and groups and groups <= SEPARATE_GROUPS:
                raise UserError(f"{origin}: refused, {where}={value} belongs to {' or '.join(sorted(groups))}")
            if not groups:
                unknown.append((where, str(value)))
    if unknown:
        raise _not_installed(unknown, origin)


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, key and value of everything in nested mappings and lists, however deep, in their order."""
    pending = [(path, None, config)]
    while pending:
        where, key, value = pending.pop()
        yield where, key, value
        if isinstance(value, Mapping):
            members = [(f"{where}.{inner}" if where else str(inner), inner, item) for inner, item in value.items()]
            pending += reversed(members)
        elif isinstance(value, list | tuple):
            pending += reversed([(f"{where}[{index}]", None, item) for index, item in enumerate(value)])


def targets_in(config: Mapping[str, Any]) -> list[str]:
    """Every `_target_` in a config."""
    return [value for _, key, value in leaves(config) if key == "_target_" and isinstance(value, str)]


def _is_trusted(target: Any) -> bool:
    names = {target, current_name(target)} if isinstance(target, str) else set()
    return any(name == package or name.startswith(f"{package}.") for name in names for package in _trusted.get())


def _not_installed(unknown: list[tuple[str, str]], origin: str) -> UserError:
    """The error for targets, each with its path, that no installed config names."""
    (where, target), *others = unknown
    modules = sorted({name.rpartition(".")[0] or name for _, name in unknown})
    return UserError(
        f"{origin}: refused, {where}={_short(target)}{f' (and {len(others)} more)' if others else ''} is named by no "
        "config of lightning-gen or an installed plugin, and nothing was run; install its plugin, or name it in "
        f"LIGHTNING_GEN_PLUGINS; or if you trust that code and this file, add trust=[{_short(','.join(modules))}]"
    )


def _short(value: Any) -> str:
    return text if len(text := str(value)) <= 80 else f"{text[:77]}..."


def installed_targets() -> dict[str, set[str]]:
    """Every `_target_` in the YAML files of core and the usable plugins, with the top config groups that name it."""
    found: dict[str, set[str]] = {}
    for group, name in _installed(_TARGET):
        found.setdefault(name, set()).add(group)
    return found


def installed_hashes() -> set[str]:
    """Every `sha256` of a weights file in the YAML files of core and the usable plugins."""
    return {sha256 for _, sha256 in _installed(_SHA256)}


def _installed(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Top config group and text of each match in the YAML files of core and the usable plugins."""
    for plugin in usable():
        for file in plugin.conf_dir.rglob("*.yaml"):
            group = file.relative_to(plugin.conf_dir).parts[0]
            yield from ((group, text) for text in pattern.findall(file.read_text(errors="replace")))


def read_saved_yaml(path: Path, origin: str) -> dict[str, Any]:
    """The content of the config.yaml that a run saved, checked; UserError, which names `origin`, for any other file."""
    content = plain_yaml(path, origin)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{origin}: {path.name} holds no config of a run; {FIX}")
    for key in ("seed", "model", "data", "trainer"):
        if key not in content:
            raise UserError(f"{origin}: {path.name} lacks {key}; {FIX}")
    check_saved(content, origin)
    check_saved_keys(content, origin)
    return content


def plain_yaml(path: Path, origin: str) -> Any:
    """The content of a YAML file; UserError, which names `origin`, for one that is damaged, huge, or has aliases."""
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{origin}: refused, {path.name} has more than {MAX_BYTES >> 20} MiB")
        # Aliases can make a small file a huge config; we write none.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(path.read_text())):
            raise UserError(f"{origin}: refused, {path.name} has YAML aliases (*name); write the values out")
        return yaml_content(path)
    except UserError:
        raise
    except Exception as error:  # damaged bytes make the loader raise anything
        raise UserError(f"{origin}: {path.name} {yaml_mistake(error)}; {FIX}") from error
