"""The options of each config group, read from the YAML files themselves."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lightning_gen.config.plugins import Plugin, usable


class Option(NamedTuple):
    """A value of a config group: the file's name, its first comment, and the plugin it is from."""

    name: str
    description: str
    source: str


def list_groups() -> list[str]:
    """All config groups, nested ones with slashes; Hydra's own settings are left out."""
    return sorted(_groups(usable()))


def list_options(group: str) -> list[Option]:
    """The options of `group`, by name; of two plugins with the same option, that of the one that Hydra takes."""
    return _options(group, usable())


def _groups(plugins: Iterable[Plugin]) -> set[str]:
    groups = set()
    for plugin in plugins:
        for folder, _, files in os.walk(plugin.conf_dir):
            group = Path(folder).relative_to(plugin.conf_dir).as_posix()
            if group.split("/")[0] not in {".", "hydra"} and any(map(_is_option, files)):
                groups.add(group)
    return groups


def _options(group: str, plugins: Iterable[Plugin]) -> list[Option]:
    options: dict[str, Option] = {}
    for plugin in plugins:
        for path in _files(plugin.conf_dir / group):
            options.setdefault(path.stem, Option(path.stem, _description(path), plugin.source))
    return sorted(options.values())


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if _is_option(path.name))


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
            return text
    return ""


def describe_all() -> list[str]:
    """A line for each group, with the names of its options."""
    plugins = usable()
    names = {group: [option.name for option in _options(group, plugins)] for group in sorted(_groups(plugins))}
    groups = {group: ", ".join(options) for group, options in names.items()}
    width = max(map(len, groups), default=0)
    return [f"{group:<{width}}  {options}" for group, options in groups.items()]
