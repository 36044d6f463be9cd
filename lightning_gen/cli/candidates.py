"""The words that can follow on a command line, for shells: commands, groups, options and keys, without Hydra.

The files of options are read as they are: a Hydra app composes its config for each press of the Tab key, for seconds.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightning_gen.cli.commands import COMMANDS, has_config
from lightning_gen.config.option_files import file_of, read_option
from lightning_gen.config.options import list_groups, list_options
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.validation import primary_keys
from lightning_gen.config.yaml_comments import HIDDEN, dotted

SHELLS = ("bash", "zsh", "fish")
FLAGS = ("--help", "--dry-run", "--cfg", "--multirun")  # of commands with a config; a dry run is of `train` alone


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of `words`, those after `lightning-gen`, can be completed to; itself in full, with its key."""
    *before, word = words or [""]
    if not before:
        return _matching([*COMMANDS, "--help", "--version"], word)
    command = before[0]
    if command not in COMMANDS:
        return []
    if has_config(command):
        return _of_config(command, before[1:], word)
    return _matching(_WORDS.get(command, lambda: ())(), word)


def _matching(words: Iterable[str], start: str) -> list[str]:
    return [word for word in dict.fromkeys(words) if word.startswith(start)]


def _of_config(command: str, before: Sequence[str], word: str) -> list[str]:
    """Flags, keys, or the values of a key: the options of a group, true and false."""
    if word.startswith("-"):
        return _matching([flag for flag in FLAGS if command == "train" or flag != "--dry-run"], word)
    keys, groups = primary_keys(conf_dir() / f"{command}.yaml")
    chosen = _chosen(groups, before)
    key, equals, value = word.partition("=")
    if equals:
        return [f"{key}={each}" for each in _values(key, value, keys, chosen)]
    return _matching(_keys(keys, chosen, word), word)


def _chosen(groups: Mapping[str, Any], words: Sequence[str]) -> dict[str, list[str]]:
    """The options of each top group, by its default and the words before; several ones for lists."""
    chosen = {group: _as_list(default) for group, default in groups.items()}
    for word in words:
        key, _, value = word.partition("=")
        if key in chosen:
            chosen[key] = [each.lstrip("+-") for each in value.strip("[]").split(",")]
    return chosen


def _as_list(choice: str | list[str] | None) -> list[str]:
    return choice if isinstance(choice, list) else [choice] if choice else []


def _own_keys(chosen: Mapping[str, Sequence[str]], group: str) -> dict[str, Any]:
    """The keys of a group's chosen options with their defaults: `model.latent_dim`."""
    found = {}
    for option in chosen.get(group, ()):
        if file_of(f"{group}/{option}").is_file():
            values = dotted(read_option(group, option).values)
            found |= {f"{group}.{key}": value for key, value in values if key.rpartition(".")[2] not in HIDDEN}
    return found


def _keys(keys: Mapping[str, Any], chosen: Mapping[str, Sequence[str]], word: str) -> Iterator[str]:
    """Keys and groups, each with its `=`; those of a chosen option once its group and a dot are there."""
    group, dot, _ = word.partition("@")[0].partition(".")
    if dot:
        yield from (f"{key}=" for key in [name for name, _ in dotted(keys)] + list(_own_keys(chosen, group)))
        return
    yield from (f"{group}=" for group in list_groups() if group.partition("/")[0] in chosen)
    yield from (f"{part.key}=" for part in _parts(chosen) if "@" in part.key)
    yield from (f"{group}." for group in chosen)
    yield from (f"{key}=" if not isinstance(value, dict) else f"{key}." for key, value in keys.items())


def _parts(chosen: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    """The parts of a chosen model that other options fit: `network@model.encoder`."""
    for option in chosen.get("model", ()):
        if file_of(f"model/{option}").is_file():
            yield from read_option("model", option).parts.values()


def _values(key: str, value: str, keys: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]) -> list[str]:
    group = key.lstrip("+~").partition("@")[0]
    if group in list_groups():
        # Of several options the last is completed, which may have a sign.
        last = max(map(value.rfind, "[,+-")) + 1 if value.startswith("[") else 0
        return [value[:last] + name for name in _matching([o.name for o in list_options(group)], value[last:])]
    default = keys.get(key, _own_keys(chosen, key.partition(".")[0]).get(key))
    return _matching(("true", "false"), value) if isinstance(default, bool) else []


def _group_words() -> list[str]:
    return [*list_groups(), *(f"{group}={option.name}" for group in list_groups() for option in list_options(group))]


_WORDS: dict[str, Callable[[], Iterable[str]]] = {
    "completion": lambda: SHELLS,
    "explain": _group_words,
    "list": lambda: [*list_groups(), "--json"],
    "runs": lambda: ("list", "best", "show", "diff", "delete", "--json"),
}
