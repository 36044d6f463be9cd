"""The values of a part of the model that is chosen on the command line are its own.

A model's file sets values of its default parts, such as Adam's learning rate. They were not made for another option:
with `optimizer@model.optimizer=sgd` the values of `conf/optimizer/sgd.yaml` count, and what is typed.
"""

import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_gen.config.hydra_setup import choices_of, compose_unchecked

if TYPE_CHECKING:
    from omegaconf import DictConfig

_CHOICE = re.compile(r"(?P<key>(?P<group>[\w/]+)(@(?P<place>[\w.]+))?)=(?P<value>[\w/.-]+|\[.*\])")
_SEVERAL = ("callbacks", "extractor", "logger", "metrics", "model.penalty")  # mappings of the chosen options by name


def use_own_values(config: "DictConfig", command: str, overrides: Sequence[str]) -> None:
    """Change a config, unresolved and composed with `overrides`, in place: chosen parts get their own values."""
    for text in overrides:
        match = _CHOICE.fullmatch(text)
        place = match and (match["place"] or match["group"].replace("/", "."))
        if not match or not place:
            continue
        if place == "debug":
            for several in _SEVERAL:
                _leave_out_unchosen(config, several, overrides)
        elif place in _SEVERAL:
            _leave_out_unchosen(config, place, overrides)
        elif place.startswith("model.") and not match["value"].startswith("["):
            _use_values_of(config, command, match["key"], match["group"], place, match["value"], overrides)


def _leave_out_unchosen(config: "DictConfig", place: str, overrides: Sequence[str]) -> None:
    """Remove values, from a model's, an experiment's or debug's file, of options that are not, or no longer, chosen."""
    from omegaconf import DictConfig, OmegaConf, open_dict

    members = OmegaConf.select(config, place)
    typed = {name for text in overrides if (name := _name_in(place, text))}
    for name in list(members) if isinstance(members, DictConfig) else []:
        member = members._get_node(name)
        if isinstance(member, DictConfig) and "_target_" not in member and name not in typed:
            with open_dict(members):
                del members[name]


def _name_in(place: str, text: str) -> str:
    """The member of `place` that an override is about; empty for another override."""
    path = _path(text)
    return path.removeprefix(f"{place}.").partition(".")[0] if path.startswith(f"{place}.") else ""


def _path(text: str) -> str:
    """The key of the config that an override sets or chooses."""
    key = text.lstrip("+~").partition("=")[0]
    return key.partition("@")[2] or key.replace("/", ".")


def _use_values_of(
    config: "DictConfig", command: str, key: str, group: str, place: str, option: str, overrides: Sequence[str]
) -> None:
    from omegaconf import OmegaConf

    now = _plain(config, place)
    own = _own_values(group, option)
    inside = [_path(text)[len(place) + 1 :] for text in overrides if _path(text).startswith(f"{place}.")]
    if not isinstance(now, dict) or own is None or not _differ(now, own, inside):
        return
    others = [text for text in overrides if text.lstrip("+").partition("=")[0] != key]
    if any((choice.place, choice.option) == (place, option) for choice in choices_of(command, others)):
        return  # the model's default, with the values that the model has for it
    links = {name: value for name, value in now.items() if name in own and str(value).startswith("${")}
    OmegaConf.update(config, place, own | links, merge=False, force_add=True)
    for path in inside:
        _take(config, place, path, now)


def _plain(config: "DictConfig", place: str) -> Any:
    """The value at `place` as plain Python, with its interpolations."""
    from omegaconf import OmegaConf

    *parents, name = place.split(".")
    parent: Any = OmegaConf.to_container(OmegaConf.select(config, ".".join(parents)), resolve=False)
    return parent.get(name)


def _own_values(group: str, option: str) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an option, composed by itself, has no _self_ in its defaults
        return _plain(compose_unchecked(f"{group}/{option}", []), group.replace("/", ".")) or {}


def _differ(now: dict[str, Any], own: dict[str, Any], typed: Sequence[str]) -> bool:
    typed_names = {path.partition(".")[0] for path in typed}
    return any(now.get(name) != own.get(name) for name in {*now, *own} - typed_names)


def _take(config: "DictConfig", place: str, path: str, values: Any) -> None:
    """Set the key `path` below `place` as it is in `values`, or remove it, as it is typed."""
    from omegaconf import OmegaConf, open_dict

    *parents, name = path.split(".")
    for parent in parents:
        values = values.get(parent, {})
    if name in values:
        OmegaConf.update(config, f"{place}.{path}", values[name], merge=False, force_add=True)
        return
    node = OmegaConf.select(config, ".".join([place, *parents]))
    with open_dict(config):
        node.pop(name, None)
