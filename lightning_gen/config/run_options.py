"""The options that a run was composed of, such as `model=dcgan`: kept with it, so that it can be composed again."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from lightning_gen.config.option_files import default_of, override_in
from lightning_gen.config.options import list_groups, options_of

EXPERIMENT = "experiment"  # the group whose options choose those of other groups
OPTIONS = "options"  # their key in a run's config.yaml and checkpoints
# Names alone: no interpolation, no other value.
_OPTION = re.compile(r"[+~]{0,2}(?P<key>(?P<group>[\w/]+)(@[\w./]+)?)=(?P<value>[\w/.-]+|\[[\w/., -]*\])")


def options_among(overrides: Iterable[str]) -> list[str]:
    """The overrides that choose options of config groups."""
    groups = set(list_groups())
    return [text for text in overrides if (match := _OPTION.fullmatch(text)) and match["group"] in groups]


def names_start(overrides: Iterable[str]) -> bool:
    """Whether overrides of `train` name a run to start from."""
    return any(text.lstrip("+").startswith(("resume=", "init_from=", "again=")) for text in overrides)


def installed_options(options: Any) -> list[str]:
    """Those of `options`, which come from a file, that can be chosen today."""
    texts = [text for text in options if isinstance(text, str)] if isinstance(options, list) else []
    return [text for text in options_among(texts) if _is_installed(text)]


def not_among(options: Sequence[str], overrides: Iterable[str]) -> list[str]:
    """The `options` whose key none of the overrides has."""
    typed = {text.lstrip("+~").partition("=")[0] for text in overrides}
    return [text for text in options if text.lstrip("+~").partition("=")[0] not in typed]


def chosen_option(group: str, options: Any) -> str | None:
    """The option of a group such as `model` that a run's `options`, which come from a file, have led to.

    It is the one that was typed, that of the experiment, or the default; None if nothing of the kind is known here.
    """
    if not isinstance(options, list) or not all(isinstance(text, str) for text in options):
        return None
    return _chosen_option(group, tuple(options))


@cache  # a list of runs asks it of thousands
def _chosen_option(group: str, options: tuple[str, ...]) -> str | None:
    typed = dict(text.lstrip("+").split("=", 1) for text in options if "=" in text)
    if group in typed:
        return typed[group]
    name = typed.get(EXPERIMENT, "null")
    if name == "null" or group == EXPERIMENT:
        return default_of(group)
    with suppress(Exception):  # of a file of a plugin, which may hold anything
        if installed_options([f"{EXPERIMENT}={name}"]):
            return override_in(f"{EXPERIMENT}/{name}", group) or default_of(group)
    return None


def title_of(config: Mapping[str, Any], options: Any) -> str:
    """`r3gan on folder`: the options of model and data of a run; their classes where options are unknown."""
    return " on ".join(chosen_option(group, options) or _class_of(config.get(group)) for group in ("model", "data"))


def _class_of(part: Any) -> str:
    return str(part.get("_target_", "?")).rpartition(".")[2] if isinstance(part, Mapping) else "?"


def is_of_model(option: str) -> bool:
    """Whether an option is a part of the model, such as `network@model.encoder=mlp_encoder`."""
    return re.match(r"[+~]{0,2}([\w/]+@)?model\b", option) is not None


def _is_installed(option: str) -> bool:
    match = _OPTION.fullmatch(option)
    assert match
    names = {name for name in re.split(r"[\[\], ]+", match["value"]) if name} - {"null"}
    return names <= {known.name for known in options_of(match["group"])}
