"""What can be set, and what else can be chosen: an option, or a key, from its YAML files and Python signatures."""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_gen.config.hydra_setup import Choice, compose_unchecked, files_of, prepare_hydra
from lightning_gen.config.keys import annotation_of
from lightning_gen.config.option_files import file_of, read_option
from lightning_gen.config.options import Option, list_groups, list_options, options_of
from lightning_gen.config.signatures import describe, signature_of
from lightning_gen.config.validation import locate
from lightning_gen.config.yaml_comments import HIDDEN, comments_in, dotted
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

GLOBAL = ("debug", "experiment", "launcher")  # groups whose files set keys of the whole config
_GIVEN = {"params", "maximize", "capturable", "differentiable"}  # of optimizers: by the model, or of no use here


@dataclass(frozen=True)
class Key:
    """A key of the config as it is typed, its default, and what values it takes."""

    name: str
    value: Any
    type: str
    comment: str


@dataclass(frozen=True)
class Part:
    """A part that an option chooses by itself, such as the encoder of a model, and the options for it."""

    choice: Choice
    description: str
    others: list[Option] = field(default_factory=list)


@dataclass(frozen=True)
class Explanation:
    """What there is to know about an option."""

    group: str
    option: Option
    target: str  # the class or function that is made; empty for several
    summary: str  # the first sentence of its docstring
    keys: list[Key]
    parts: list[Part]
    more: list[str]  # keys that its file leaves out


def explain_option(group: str, name: str) -> Explanation:
    """The keys of an option with their comments, defaults, types and bounds, and its parts. UserError if unknown."""
    options = {option.name: option for option in list_options(group)}
    if name not in options:
        fix = did_you_mean(name, options, f"{group}={{}}") or f"; options: {', '.join(options)}"
        raise UserError(f"{group}={name}: no such option{fix}")
    read = read_option(group, name)
    target = str(read.values.get("_target_", ""))
    root = "" if group in GLOBAL else group.replace("/", ".")
    return Explanation(
        group,
        options[name],
        target,
        _summary(target),
        [
            Key(_join(root, key), value, _type(read.values, key) if root else "", read.comments.get(key, ""))
            for key, value in dotted(read.own)
            if key.rpartition(".")[2] not in HIDDEN
        ],
        [_part(choice) for choice in read.parts.values() if not choice.group.startswith("hydra/")],
        _left_out(target, read.values) if group == "optimizer" else [],
    )


def explain_key(key: str, overrides: Sequence[str] = ()) -> list[Key]:
    """A key of the config that `lightning-gen train` composes with these options, or all keys below it."""
    prepare_hydra()
    config, files = _composed(overrides)
    known = {name: value for name, value in dotted(config) if name.rpartition(".")[2] not in HIDDEN}
    names = [name for name in known if name == key or name.startswith(f"{key}.")]
    if not names:
        groups = {name for full in known for name in _parents(full)}
        ends = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]][:3]
        ends = ends or [f"{group}={key}" for group in list_groups() if key in (o.name for o in list_options(group))][:3]
        fix = f"; did you mean {' or '.join(ends)}?" if ends else did_you_mean(key, {*known, *groups, *list_groups()})
        raise UserError(f"{key}: no such key{fix or '; lightning-gen train --help lists the keys of a run'}")
    comments = _comments(files)
    return [Key(name, known[name], _type(config, name), comments.get(name, "")) for name in names]


def _composed(overrides: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """A config as plain Python, with its interpolations, and the files that it is made of."""
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(compose_unchecked("train", overrides), resolve=False)
    config.pop("hydra")
    return config, [file for file in files_of("train", overrides) if not file[0].startswith("hydra/")]


def _comments(files: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The comment on each key in the last of the files that has one."""
    comments = {}
    for path, place, _ in files:
        for name, comment in comments_in(file_of(path)).items():
            if comment:
                comments[_join(place, name)] = comment
    return comments


def _part(choice: Choice) -> Part:
    options = {option.name: option for option in options_of(choice.group)}
    description = options[choice.option].description if choice.option in options else ""
    # An encoder is no place for a decoder.
    kind = choice.option.rpartition("_")[2] if choice.group == "network" else ""
    others = [option for name, option in options.items() if name != choice.option and name.endswith(kind)]
    return Part(choice, description, others)


def _type(config: dict[str, Any], name: str) -> str:
    """The type and bounds of a key, by the signature of the object that it belongs to; empty if it has none."""
    parent, _, last = name.rpartition(".")
    target = _get(config, parent).get("_target_")
    annotation = annotation_of(last, "train") if target is None and not parent else None
    if isinstance(target, str):
        annotation = signature_of(locate(target, parent)).parameters.get(last, Any)
    return "" if annotation in (None, Any) else describe(annotation)


def _left_out(target: str, node: dict[str, Any]) -> list[str]:
    return [name for name in signature_of(locate(target, "optimizer")).parameters if name not in {*node, *_GIVEN}]


def _summary(target: str) -> str:
    """The first sentence of a class's or function's own docstring, if it is ours or a plugin's."""
    if not target or target.startswith("torch."):
        return ""
    text = inspect.cleandoc(getattr(locate(target, "_target_"), "__doc__", None) or "").partition("\n\n")[0]
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]
    head = re.split(r"(?<=:)\s", sentence, maxsplit=1)[0].rstrip(":")
    return head if head.count("(") == head.count(")") else sentence


def _get(config: dict[str, Any], path: str) -> dict[str, Any]:
    node: Any = config
    for name in path.split(".") if path else ():
        node = node.get(name) or {}
    return node


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]
