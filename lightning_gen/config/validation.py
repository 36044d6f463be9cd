"""Validation of a composed config: every key and value against its `_target_`, before anything is made.

Hydra accepts any key behind `+` and any value for any key; here mistakes become errors of one line.
"""

import importlib
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_gen.config.keys import MEMBERS, OBJECTS, SECTIONS, annotation_of
from lightning_gen.config.options import list_groups, options_of
from lightning_gen.config.plugins import owner
from lightning_gen.config.signatures import describe, fits, is_number, signature_of
from lightning_gen.errors import UserError
from lightning_gen.utilities.compat import yaml_loader
from lightning_gen.utilities.suggestions import did_you_mean

_SAID = {"yes": "true", "y": "true", "on": "true", "no": "false", "n": "false", "off": "false"}
HYDRA_KEYS: dict[str, Any] = {
    "_target_": str,
    "_partial_": bool,
    "_convert_": typing.Literal["none", "partial", "object", "all"],
    "_recursive_": bool,
    "_args_": list,
}


def check_targets(node: Any, path: str = "") -> None:
    """Check each mapping with a `_target_` in `node` (plain, resolved) against the signature of its target."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            _check_call(node, path)
        elif "_target_" in node:
            where = as_typed(_join(path, "_target_"), node["_target_"])
            raise UserError(f"{where}: expected the name of a class or a function, as my_package.MyClass")
        elif path and any(isinstance(value, Mapping) and "_target_" in value for value in node.values()):
            _check_members(path, {name: member for name, member in node.items() if member is not None})
        for key, value in node.items():
            check_targets(value, _join(path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            check_targets(value, f"{path}[{index}]")


def _check_call(node: Mapping[str, Any], path: str) -> None:
    target = locate(node["_target_"], _join(path, "_target_"))
    if not callable(target):
        raise UserError(f"{_join(path, '_target_')}={node['_target_']}: is not callable; name a class or a function")
    signature = signature_of(target)
    for key, value in node.items():
        if key in HYDRA_KEYS:
            _check_type(_join(path, key), value, HYDRA_KEYS[key])
            continue
        if key in signature.parameters:
            _check_value(_join(path, key), value, signature.parameters[key])
        elif not signature.open:
            raise unknown_key(_join(path, key), value, getattr(target, "__name__", "it"), signature.parameters)


def _check_value(path: str, value: Any, annotation: Any) -> None:
    if isinstance(value, Mapping) and "_target_" in value and not is_number(annotation):
        return  # checked by itself
    _check_type(path, value, annotation)


def _check_type(path: str, value: Any, annotation: Any) -> None:
    if not fits(value, annotation):
        fix = _as_choice(path, value) or _fix(value, annotation)
        raise UserError(f"{as_typed(path, value)}: expected {describe(annotation)}{fix}")


def _as_choice(path: str, value: Any) -> str:
    """The way to choose the option that is named where an object is expected, as in `model.loss=hinge`."""
    own = path.replace(".", "/")
    for group in list_groups() if isinstance(value, str) else ():
        if (group == own or "/" not in group) and value in {option.name for option in options_of(group)}:
            return f"; choose it with {group if group == own else f'{group}@{path}'}={value}"
    return ""


def _fix(value: Any, annotation: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "; give a finite number"
    if isinstance(value, float) and value.is_integer() and fits(int(value), annotation):
        return f"; write {int(value)}"
    if value is False and fits(None, annotation):
        return "; write null"
    if isinstance(value, str) and value.lower() in _SAID and fits(True, annotation):
        return f"; write {_SAID[value.lower()]}"
    if isinstance(value, bool | int | float) and fits(str(value), annotation):
        return "; to mean text, write it in quotes"
    if type(value) is int and fits(f"{value}m", annotation):
        return f"; write {value}m for minutes or {value}h for hours"
    choices = list(_choices(annotation))
    words = value if isinstance(value, list) else [value]
    unknown = [word for word in words if isinstance(word, str) and word not in choices]
    return did_you_mean(unknown[0], choices) if unknown else ""


def _choices(annotation: Any) -> Iterator[str]:
    """The strings of a `Literal`, also inside of a list or a union."""
    for argument in typing.get_args(annotation):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _choices(argument)


def unknown_key(path: str, value: Any, owner: str, known: Iterable[str]) -> UserError:
    """The error for a key that `owner` does not have, with the nearest of the `known` ones."""
    parent, _, key = path.rpartition(".")
    known = sorted(set(known) - {"self"})
    fix = did_you_mean(key, known, _join(parent, "{}"))
    if not fix and known:
        fix = f"; its keys are {', '.join(known)}"
    return UserError(f"{as_typed(path, value)}: {owner} has no such key{fix}")


def as_typed(path: str, value: Any) -> str:
    """`key=value` as a user types it; only the key of a mapping."""
    if isinstance(value, Mapping):
        return path
    if value is None or isinstance(value, bool):
        value = {None: "null", True: "true", False: "false"}[value]
    return f"{path}={value!r}" if isinstance(value, str) and value != value.strip() else f"{path}={value}"


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def locate(target: str, path: str) -> Any:
    """The object with the dotted name `target`. UserError names the config key `path`, and the plugin at fault."""
    parts = target.split(".")
    for end in range(len(parts), 0, -1):
        module = _import(".".join(parts[:end]), f"{path}={target}")
        if module is not None:
            return _attribute(module, parts[end:], f"{path}={target}")
    raise UserError(f"{path}={target}: there is no package {parts[0]}; install it or fix the name")


def _import(module: str, where: str) -> Any:
    """The module, or None if there is no such module; UserError if importing it fails.

    Any error in a plugin becomes a UserError; in core's own code, all but import errors are bugs and stay as they are.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            return None
        raise UserError(f"{where}: needs the package {error.name}; install it{_of_plugin(module)}") from error
    except (Exception, SystemExit) as error:
        plugin = _of_plugin(module)
        if not plugin and not isinstance(error, ImportError | ValueError):
            raise
        text = f"{type(error).__name__}: {_first_line(error)}" if plugin else _first_line(error)
        raise UserError(f"{where}: {module} cannot be imported: {text}{plugin}") from error


def _of_plugin(module: str) -> str:
    """The plugin of a module and its fix, in brackets; empty for a module of no plugin."""
    plugin = owner(module)
    return f" (plugin {plugin.source}: {plugin.fix})" if plugin else ""


def _attribute(obj: Any, names: list[str], where: str) -> Any:
    """`obj.name.name...`, of a module or a class."""
    for name in names:
        if not hasattr(obj, name):
            known = [other for other in _names_in(obj) if not other.startswith("_")]
            plugin = _of_plugin(getattr(obj, "__module__", None) or obj.__name__)
            raise UserError(f"{where}: {obj.__name__} has no {name}{did_you_mean(name, known)}{plugin}")
        obj = getattr(obj, name)
    return obj


def _names_in(obj: Any) -> list[str]:
    import pkgutil

    return dir(obj) + [module.name for module in pkgutil.iter_modules(getattr(obj, "__path__", []))]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_keys(config: Mapping[str, Any], command: str) -> None:
    """Check the values at the top of a command's config, as they are declared in `config/keys.py`."""
    for key, value in config.items():
        _check_type(key, value, annotation_of(key, command))
        if key in SECTIONS:
            for name, inner in value.items():
                _check_type(_join(key, name), inner, annotation_of(name, command))
        elif key in MEMBERS:
            _check_members(key, value or {})
        elif command == "train" and key in OBJECTS and "_target_" not in value:
            raise UserError(f"{key}: its config names no _target_; choose one with {key}=OPTION, or fix its YAML file")


def check_saved_keys(config: Mapping[str, Any], origin: str) -> None:
    """Check the top of a run's config that was read from a file; `origin` begins the error. Nothing is imported."""
    try:
        check_keys(config, "train")
    except UserError as error:
        raise UserError(f"{origin}: its config is damaged: {error}") from None


def yaml_mistake(error: Exception) -> str:
    """What is wrong with a YAML file, by the error that reading it raised."""
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return f"cannot be read: {_first_line(error)}"


def check_top_level(config: Mapping[str, Any], primary: Path) -> None:
    """Check the keys at the top of a command's config: none is unknown, none is missing.

    `primary` is the command's own file: its keys, and the groups in its defaults list, are all that the command reads.
    """
    defaults, groups = primary_keys(primary)
    known = {*defaults, *groups}
    for key, value in config.items():
        if key not in known:
            fix = did_you_mean(key, known) or f"; its keys are {', '.join(sorted(known))}"
            raise UserError(f"{as_typed(key, value)}: {primary.stem} has no such key{fix}")
        if key in defaults:
            _check_section(key, value, defaults[key])
        elif isinstance(groups[key], list):
            _check_members(key, value)
    for key in known - config.keys():
        if isinstance(groups.get(key), str) or key in defaults:
            hint = f"choose one with {key}=OPTION" if key in groups else f"give {key}=VALUE"
            raise UserError(f"~{key}: {primary.stem} needs {key}; {hint}")


def _check_members(group: str, members: Mapping[str, Any]) -> None:
    """Each member of a group such as `callbacks` is an object: anything else is a misspelled name."""
    for name, member in members.items():
        if not isinstance(member, Mapping) or "_target_" not in member:
            others = [other for other, value in members.items() if isinstance(value, Mapping) and "_target_" in value]
            hint = did_you_mean(name, others, f"{group}.{{}}") or f"; leave one out with ~{group}.NAME"
            raise UserError(f"{as_typed(f'{group}.{name}', member)}: expected an object with a _target_{hint}")


def _check_section(path: str, value: Any, default: Any) -> None:
    """A mapping with keys of its own, such as `evaluation`, has no others."""
    if default and isinstance(default, Mapping) and isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in default:
                raise unknown_key(_join(path, key), inner, path, default)


def primary_keys(primary: Path) -> tuple[dict[str, Any], dict[str, str | list | None]]:
    """The primary file's own keys with their defaults, and the top-level groups of its defaults list.

    Each group maps to its default choice: an option, a list of options, or None.
    """
    content = dict(yaml_content(primary) or {})
    groups: dict[str, str | list | None] = {}
    for entry in content.pop("defaults", []):
        if entry == "_self_":
            continue
        if isinstance(entry, str):
            inner, inner_groups = primary_keys(primary.parent / f"{entry.lstrip('/')}.yaml")
            content, groups = inner | content, inner_groups | groups
            continue
        ((group, option),) = entry.items()
        if not group.startswith("override "):
            name, _, package = group.removeprefix("optional ").strip().lstrip("/").partition("@")
            top, _, rest = (package or name.replace("/", ".")).partition(".")
            groups[top] = groups.get(top) if rest else option
    content.pop("hydra", None)
    groups.pop("hydra", None)
    return content, groups


def yaml_content(path: Path) -> Any:
    """A YAML file as Hydra reads it."""
    import yaml

    return yaml.load(path.read_text(), Loader=yaml_loader())
