"""The keys of their configs in which runs differ, as columns of a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.config.run_options import OPTIONS, chosen_option
from lightning_gen.config.saved import plain_yaml
from lightning_gen.errors import UserError

MOST = 8  # columns; further keys are only named
LONGEST = 28  # characters of a value
# They say where a run writes and what it shows, not what it trains.
LEFT_OUT = {"run_dir", "resume", "again", "trust", "evaluation", "objective", "sweep", "space"}
LEFT_OUT |= {"extractor", "callbacks", "logger", "metrics"}
# Without effect on results.
OF_THE_MACHINE = {"data.num_workers", "data.in_memory", "data.cache", "data.cache_dir", "data.cache_gb"}
NAMED = ("experiment", "model", "data")  # options that are shown by name

Settings = dict[str, Any]  # by dotted key; an object's own key has the name of its class


def read_settings(path: Path) -> Settings:
    """The settings of the run that an evaluation.json, or its folder, belongs to; empty if there is no config."""
    file = (path if path.is_dir() else path.parent) / "config.yaml"
    try:
        config = plain_yaml(file, "compare")
    except UserError:
        return {}
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        return {}
    kept = {key: value for key, value in config.items() if key not in {*LEFT_OUT, OPTIONS}}
    found = {key: value for key, value in _flat(kept) if key not in OF_THE_MACHINE}
    return found | _named_options(config.get(OPTIONS))


def _flat(value: Mapping[Any, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        key = f"{parent}.{name}" if parent else str(name)
        if name == "_target_":
            yield parent, str(member).rpartition(".")[2]
        elif isinstance(member, dict):
            yield from _flat(member, key)
        elif name != "_partial_":
            yield key, member


def _named_options(options: Any) -> Settings:
    """The chosen options as `group=`, apart from the keys of configs."""
    return {f"{group}=": name for group in NAMED if (name := chosen_option(group, options))}


def differing(runs: Sequence[Settings]) -> tuple[dict[str, list[str]], list[str]]:
    """For each key in which runs differ its values, "-" for a run without it; and the names of those beyond `MOST`.

    Names are as short as they can be told apart. Runs without settings differ in nothing.
    """
    known = [run for run in runs if run]
    merged = [_with_names(run, known) for run in runs]
    keys = list(dict.fromkeys(key for run in merged for key in run))
    found = [key for key in keys if _differs(key, [run for run in merged if run])]
    found = [key for key in found if not _follows(key, found, merged)]
    found.sort(key=_rank)
    columns = {_short(key, keys): [_text(run, key) for run in merged] for key in found[:MOST]}
    return columns, [_short(key, keys) for key in found[MOST:]]


def all_differences(*folders: Path) -> dict[str, list[Any]]:
    """The values of each key in which the configs of run folders differ; "-" where one has no such key.

    Paths in the run folders are left out.
    """
    found = [_whole_settings(folder) for folder in folders]
    values = {key: [settings.get(key, "-") for settings in found] for key in dict.fromkeys(chain(*found))}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}


def _whole_settings(folder: Path) -> Settings:
    config = plain_yaml(folder / "config.yaml", str(folder))
    place = str(config.pop("run_dir", ""))
    found = {key: value for key, value in _flat(config) if key != OPTIONS}
    return {key: value for key, value in found.items() if not str(value).startswith(f"{place}/") and value != place}


def _with_names(run: Settings, runs: Sequence[Settings]) -> Settings:
    """A run's settings with the names of options in place of classes, where all runs have chosen one by name."""
    named = {group: run.get(f"{group}=") for group in NAMED if all(f"{group}=" in other for other in runs)}
    plain = {key: value for key, value in run.items() if not key.endswith("=")}
    experiment = {"experiment": run["experiment="]} if "experiment=" in run else {}
    return plain | {group: name for group, name in named.items() if name is not None} | experiment


def _differs(key: str, runs: Sequence[Settings]) -> bool:
    values = [run.get(key, "-") for run in runs]
    return any(value != values[0] for value in values)


def _follows(key: str, found: Sequence[str], runs: Sequence[Settings]) -> bool:
    """Whether some run lacks the key because an object that it belongs to is another one there."""
    lacking = any(run and key not in run for run in runs)
    return lacking and any(key.startswith(f"{other}.") for other in found)


def _rank(key: str) -> tuple[int, int]:
    """Of what a key is, and how deep in it."""
    first, *inner = key.split(".")
    places = {"experiment": 0, "model": 1, "data": 2, "trainer": 3}
    return places.get(first, 4), len(inner)


def _short(key: str, keys: Sequence[str]) -> str:
    """The end of a key that no other key has."""
    parts = key.split(".")
    ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
    others = [other for other in keys if other != key]
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)


def _text(run: Settings, key: str) -> str:
    if key not in run:
        return "-"
    value = run[key]
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, width=10_000)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + ".."
