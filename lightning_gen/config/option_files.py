"""What the YAML files of an option say, read without Hydra: its values, its parts, and the comments on its keys."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lightning_gen.config.hydra_setup import Choice
from lightning_gen.config.plugins import conf_dir, usable
from lightning_gen.config.validation import yaml_content
from lightning_gen.config.yaml_comments import comments_in


@dataclass
class Read:
    """An option with those that it builds on: nested values, parts by their place in it, and comments."""

    values: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)  # without the values of parts
    parts: dict[str, Choice] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)


def read_option(group: str, name: str) -> Read:
    """The values of an option as Hydra composes them by itself; its place is left out of all keys."""
    read = Read()
    path = file_of(f"{group}/{name}")
    for part_group, option, place in _defaults(path, group):
        if part_group == group and not place:
            _add(read, read_option(group, option))
        else:
            read.parts[place] = Choice(part_group, option, _join(group.replace("/", "."), place))
    content = {key: value for key, value in (yaml_content(path) or {}).items() if key != "defaults"}
    for place, part in read.parts.items():
        if file_of(f"{part.group}/{part.option}").is_file():
            _merge(read.values, _at(place, read_option(part.group, part.option).values))
    for values in (read.own, read.values):
        _merge(values, content)
    read.comments |= {key: text for key, text in comments_in(path).items() if text}
    return read


def default_of(group: str) -> str | None:
    """The option of a top group, such as `model`, that `train` has by default."""
    found = (option for other, option, _ in _defaults(conf_dir() / "train.yaml", "") if other == group)
    return next((option for option in found if option != str(None)), None)


def override_in(option: str, group: str) -> str | None:
    """The option of another top group that `experiment/NAME` overrides, or one that it builds on; None without one."""
    own = option.partition("/")[0]
    entries = list(_defaults(file_of(option), own))
    chosen = [name for other, name, _ in entries if other == group]
    inner = [override_in(f"{own}/{name}", group) for other, name, place in entries if other == own and not place]
    return next(filter(None, [*chosen, *inner]), None)


@cache
def file_of(option: str) -> Path:
    """The YAML file of an option such as `model/vae`; one that is not there if there is none."""
    found = (plugin.conf_dir for plugin in usable() if plugin.has(option))
    return next(found, Path()) / f"{option}.yaml"


def _defaults(path: Path, group: str) -> Iterator[tuple[str, str, str]]:
    """Group, option and place in this option of each entry of a file's defaults; a list has several."""
    import yaml

    content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # without OmegaConf
    for entry in (content or {}).get("defaults", []):
        if isinstance(entry, str):
            if entry != "_self_":
                yield group, entry.removeprefix(f"/{group}/"), ""
            continue
        ((key, chosen),) = entry.items()
        name, _, place = key.removeprefix("override ").partition("@")
        part_group = name[1:] if name.startswith("/") else f"{group}/{name}".lstrip("/")
        place = place.removeprefix(f"{group}.") or name.lstrip("/").replace("/", ".")
        options = chosen if isinstance(chosen, list) else [chosen]
        for option in options:
            yield part_group, str(option), place if len(options) == 1 else f"{place}.{option}"


def _add(read: Read, other: Read) -> None:
    _merge(read.values, other.values)
    _merge(read.own, other.own)
    read.parts |= other.parts
    read.comments |= other.comments


def _merge(values: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            values[key] = dict(value) if isinstance(value, dict) else value


def _at(place: str, values: dict[str, Any]) -> dict[str, Any]:
    for name in reversed(place.split(".")):
        values = {name: values}
    return values


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
