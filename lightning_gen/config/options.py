"""The options of each config group, read from the YAML files themselves."""

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from lightning_gen.config.plugins import Plugin, usable
from lightning_gen.errors import UserError
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import did_you_mean

FOLDERS = ("experiment",)  # groups whose folders hold options of their own: experiment=cifar10/r3gan


class Option(NamedTuple):
    """A value of a config group as it is typed, the first comment of its file, and the plugin it is from."""

    name: str
    description: str
    source: str


def list_groups() -> list[str]:
    """All config groups, nested ones with slashes; Hydra's own settings are left out."""
    return sorted(_groups(usable()))


def list_options(group: str) -> list[Option]:
    """The options of `group`, by name; of two plugins with the same option, that of the one that Hydra takes.

    UserError if there is no such group.
    """
    options = options_of(group)
    if not options and group not in (known := list_groups()):
        nested = [name for name in known if name.endswith(f"/{group}")]  # model/loss of loss
        fix = did_you_mean(nested[0] if nested else group, known) or f"; groups: {', '.join(known)}"
        raise UserError(f"there is no group {group}{fix}")
    return options


def options_of(key: str) -> list[Option]:
    """As `list_options`; empty if `key` is no group."""
    return _options(key, usable())


def _groups(plugins: Iterable[Plugin]) -> set[str]:
    groups = set()
    for plugin in plugins:
        for folder, _, files in os.walk(plugin.conf_dir):
            group = Path(folder).relative_to(plugin.conf_dir).as_posix()
            top = group.split("/")[0]
            if top not in {".", "hydra"} and any(map(_is_option, files)):
                groups.add(top if top in FOLDERS else group)
    return groups


def _options(group: str, plugins: Iterable[Plugin]) -> list[Option]:
    options: dict[str, Option] = {}
    for plugin in plugins:
        for path in _files(plugin.conf_dir, group):
            name = path.relative_to(plugin.conf_dir / group).with_suffix("").as_posix()
            options.setdefault(name, Option(name, _description(path), plugin.source))
    return sorted(options.values())


def _files(conf_dir: Path, group: str) -> Iterator[Path]:
    pattern = "**/*.yaml" if group in FOLDERS else "*.yaml"
    yield from (path for path in conf_dir.joinpath(group).glob(pattern) if _is_option(path.name))


def _is_option(name: str) -> bool:
    return name.endswith(".yaml") and not name.startswith("_")


def _description(path: Path) -> str:
    """The first comment that is not Hydra's `# @package`."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:  # an unreadable file is an error when it is chosen
        return ""
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            return ""
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@package"):
            return printable(text)
    return ""


def describe_all() -> list[str]:
    """A line for each group, with the names of its options."""
    plugins = usable()
    names = {group: [option.name for option in _options(group, plugins)] for group in sorted(_groups(plugins))}
    groups = {group: ", ".join(_by_folder(options)) for group, options in names.items()}
    width = max(map(len, groups), default=0)
    return [f"{group:<{width}}  {options}" for group, options in groups.items()]


def _by_folder(names: list[str]) -> Iterator[str]:
    """Names in folders are told together, as a shell would: `cifar10/{dcgan, r3gan}`."""
    for folder, group in groupby(names, lambda name: name.rpartition("/")[0]):
        if folder:
            yield f"{folder}/{{{', '.join(name.rpartition('/')[2] for name in group)}}}"
        else:
            yield from group
