"""Hydra's and OmegaConf's errors, each as one line that names the key, the value and the fix."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_gen.config.hydra_setup import choices_of, compose_unchecked
from lightning_gen.config.options import options_of
from lightning_gen.config.plain_words import written_out
from lightning_gen.config.plugins import CORE, broken, usable
from lightning_gen.config.sizes import models_with_sizes
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import closest, did_you_mean


@contextmanager
def explained(command: str, overrides: Sequence[str]) -> Iterator[None]:
    """Within it every error in composing `command` with `overrides` becomes a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(" ".join(explain(error, command, list(overrides)).split())) from error


def explain(error: Exception, command: str, overrides: list[str]) -> str:
    """The message for an error that Hydra or OmegaConf raised in composing."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from yaml import MarkedYAMLError

    text = str(error)
    if match := re.match(r"UserError raised while resolving interpolation: (.*)", text):  # by a resolver of ours
        return match[1]
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, command)
    if isinstance(error, MissingConfigException):
        return _missing_option(error, overrides)
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{mark.name} line {mark.line + 1}: {error.problem}{_fix_of_file(mark.name)}"
    if re.match(r"Could not (?:override|delete) ''", text):
        return _unreadable(" ".join(overrides), command)
    if match := re.match(r"(?:Could not override|Could not delete from config\.) '(.+?)'", text):
        return _unknown_key(_full_key(error.__cause__) or match[1], match[1], command, overrides)
    if match := re.match(r"Could not delete '(.+?)'", text):
        return f"~{match[1]}: not chosen; for a group of several write {match[1]}=[]"
    if match := re.match(r"Could not append to config\. An item is already at '(.+?)'", text):
        return f"{_typed(match[1], overrides)}: {match[1]} is there already; leave out the +"
    if match := re.match(r"Ambiguous value for argument '(.+?)'", text):
        return f"{match[1]}: several values; add -m to run each, or write [a,b] for a list"
    if match := re.match(r"Error merging override (\S+)", text):
        return _misplaced(match[1])
    if "appears more than once in the final defaults list" in text:
        several = next((typed for typed in overrides if re.fullmatch(r"model=\[.*,.*\]", typed)), None)
        if several:
            return f"{several}: choose one, or add -m to run each: {several.replace('[', '').replace(']', '')}"
        group = re.split(r" appears", text)[0].strip("'\"")
        return f"{group} is chosen twice; leave out the + before a group that is chosen already"
    if match := re.match(r"You must specify '(.+?)'", text):
        return f"{command} needs {match[1]}=OPTION; options: {', '.join(_options(match[1]))}"
    if text.startswith("Config group override must be"):
        return _not_an_option(command, overrides)
    return _other(error) + _chosen_of_plugins(overrides)


def _fix_of_file(path: str) -> str:
    """`; fix the file`, or the plugin that a file belongs to, and its fix."""
    for plugin in usable()[1:]:
        if Path(path).is_relative_to(plugin.conf_dir):
            return f" (plugin {plugin.source}); {plugin.fix}"
    return "; fix the file"


def _chosen_of_plugins(overrides: list[str]) -> str:
    """The chosen options of plugins: the end of a message that does not name the file with the mistake."""
    core, *plugins = usable()
    suspects = []
    for typed in overrides:
        key, _, value = typed.lstrip("+").partition("=")
        for option in re.split(r"[\[\], ]+", value):
            file = f"{key.split('@')[0]}/{option}"
            owner = next((plugin for plugin in plugins if option and plugin.has(file)), None)
            if owner and not core.has(file):
                suspects.append(f"{typed} is of plugin {owner.source}: {owner.fix}")
    return f" ({'; '.join(suspects)})" if suspects else ""


def _other(error: Exception) -> str:
    key = getattr(error, "full_key", None) or _full_key(error)
    line = (str(error).splitlines() or [""])[0] or type(error).__name__
    line = re.sub(r"^\w+ raised while resolving interpolation: ", "", line).strip('"')
    return f"{key}: {line}" if key else line


def _full_key(error: BaseException | None) -> str | None:
    """The config key that OmegaConf's and Hydra's messages end with."""
    match = re.search(r"full_key: (\S+)", str(error))
    return match[1] if match else None


def _typed(key: str, overrides: list[str]) -> str:
    """The override for `key` as it was typed."""
    return next((typed for typed in overrides if typed.lstrip("+~").split("=")[0] == key), key)


def _unreadable(typed: str, command: str) -> str:
    write = "write key=value without spaces around the =, and quote text with special characters: key='\"a b\"'"
    if re.match(r"[^\s\"'=]+=[^\s\"']+\s+[\w./@+~-]+=", typed):
        write = "it has several key=value; give each by itself, or quote text: key='\"a b=c\"'"
    path = os.path.expanduser(typed)
    if os.path.exists(path):
        meant = f"checkpoint={typed}"
        if command in ("train", "inspect") and os.path.isdir(path):
            is_run = os.path.exists(os.path.join(path, "checkpoints"))
            meant = f"run_dir={typed} resume=true" if is_run else f"data=folder data.path={typed}"
        write = f"name what the path is, as {meant}"
    elif chosen := [f"{group}={typed}" for group in ("model", "data", "experiment") if typed in _options(group)]:
        write = f"did you mean {' or '.join(chosen)}?"
    return f"{typed}: cannot be read; {write}"


def _misplaced(typed: str) -> str:
    """A value where keys are, such as the names of options in `data.augment=[flip]`."""
    key, _, value = typed.lstrip("+").partition("=")
    group = key.replace(".", "/")
    options = _options(group)
    if not options:
        return f"{typed}: {key} has keys of its own; give one of these, as {key}.KEY=VALUE"
    wrong = next((option for option in re.split(r"[\[\], ]+", value) if option and option not in options), None)
    return f"{typed}: options are chosen with a slash, {group}={value}" + (
        f", and {wrong} is none{_suggest_option(group, wrong, group)}" if wrong else ""
    )


def _unknown_key(key: str, override_key: str, command: str, overrides: list[str]) -> str:
    typed = _typed(override_key, overrides)
    group, _, rest = key.partition(".")
    option = rest.partition(".")[0]
    if rest and option in _options(group) and typed.startswith(key):
        return f"{typed}: {option} is not chosen; choose it too, as {group}=[+{option}]"
    if group in ("model", "data") and command not in ("train", "inspect") and not _chosen(group, typed, overrides):
        fix = f"write +{typed}" if "." in override_key else f"change a value with +{group}.KEY=VALUE"
        return f"{typed}: is the checkpoint's; {fix}"
    if key == "model.size":
        return f"{typed}: this model has no sizes; those of {', '.join(models_with_sizes())} are chosen by it"
    others = [other for other in overrides if other != typed]
    meant = _in_full(typed, command, others)
    if meant:
        return f"{typed}: {meant}"
    known = _known_keys(command, others)
    chosen = _as_choice(key, typed.partition("=")[2], known)
    suggestion = chosen or suggest_key(key, known - {key}) or _all_keys(key, command, others, known)
    return f"{typed}: no such key{suggestion}"


def _all_keys(key: str, command: str, others: list[str], known: Iterable[str]) -> str:
    """Where all keys are told: of the command in this line, of a chosen option by `explain`."""
    group, dot, _ = key.partition(".")
    choice = next((typed for typed in reversed(others) if typed.startswith(f"{group}=")), None)
    if dot and group in known:
        default = next((choice for choice in choices_of(command, []) if choice.place == group), None)
        chosen = choice or (f"{group}={default.option}" if default else group)
        return f"; lightning-gen explain {chosen} lists its keys"
    keys = sorted(name for name in known if re.fullmatch(r"\w+", name) and name != "hydra")
    return f"; {command} has {', '.join(keys)}"


def _in_full(typed: str, command: str, others: list[str]) -> str:
    """What a key means whose last part is a plain word, as in `model.lr=0.1`; empty if that is unknown."""
    key, _, value = typed.lstrip("+~").partition("=")
    word = f"{key.rpartition('.')[2]}={value}"
    if "." not in key or "@" in key:
        return ""
    try:
        in_full = written_out(command, [*others, word]).get(word)
    except UserError as error:
        return str(error).removeprefix(f"{word}: ")
    return f"no such key; did you mean {' '.join(in_full)}?" if in_full else ""


def _chosen(group: str, typed: str, overrides: list[str]) -> bool:
    """Whether another override than `typed` chooses an option of the group."""
    return any(other.startswith(f"{group}=") for other in overrides if other != typed)


def _as_choice(key: str, value: str, known: Iterable[str]) -> str:
    """How to choose an option for a part of a model, where `optimizer=sgd` or `model/optimizer=sgd` was written."""
    places = [name.partition("@") for name in known if re.match(r"[\w/]+@", name)]
    wanted = [f"{group}@{path}={value}" for group, _, path in places if key in (group, path.replace(".", "/"))]
    return f"; did you mean {' or '.join(sorted(wanted))}?" if wanted else ""


def suggest_key(key: str, known: Iterable[str]) -> str:
    """Did-you-mean for a dotted key: its siblings first, then any key."""
    known = set(known)
    parent, dot, name = key.rpartition(".")
    siblings = [other[len(parent + dot) :] for other in known if other.rpartition(".")[0] == parent]
    named = [other for other in known if closest(name, [other.rpartition(".")[2]])]
    return did_you_mean(name, siblings, f"{parent}{dot}{{}}") or did_you_mean(key, named)


def _known_keys(command: str, overrides: list[str]) -> set[str]:
    """All dotted keys and chosen groups of the config; if the overrides have other mistakes, of the default one."""
    from omegaconf import OmegaConf

    choices = [typed for typed in overrides if "." not in typed.partition("=")[0].partition("@")[0]]
    # Another mistake among them must not hide the keys of the chosen model.
    groups = [typed for typed in choices if _options(typed.lstrip("+~").partition("=")[0].partition("@")[0])]
    for attempt in (overrides, choices, groups, []):
        try:
            config = compose_unchecked(command, attempt)
            chosen = {group for group in config.hydra.runtime.choices if not group.startswith("hydra")}
            return chosen | set(_dotted(OmegaConf.to_container(config, resolve=False)))
        except Exception:
            continue
    return set()


def _dotted(node: Any, parent: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{parent}{key}"
            yield from _dotted(value, f"{parent}{key}.")


def _missing_option(error: Any, overrides: list[str]) -> str:
    missing = error.missing_cfg_file or (re.findall(r"Could not (?:load|find) '(.+?)'", str(error)) or [""])[0]
    if "/" not in missing:
        return f"{_other(error)} Is the conf/ folder complete?"
    for typed in overrides:
        key, _, value = typed.lstrip("+").partition("=")
        group = key.split("@")[0]
        for option in re.split(r"[\[\], ]+", value):
            if f"{group}/{option}" == missing:
                named = "" if value.startswith("[") else key  # KEY=OPTION would leave out the others of a list
                why = _left_out(missing) or f"no such option{_suggest_option(group, option, named)}{_lost()}"
                return f"{typed}: {why}"
    group, _, option = missing.rpartition("/")
    found = re.match(r"In '(.+?)'", str(error))
    if not found:
        return f"defaults: there is no {missing}.yaml{_suggest_option(group, option, group)}"
    parent = next((plugin for plugin in usable() if plugin.has(found[1])), None)
    of = f" (plugin {parent.source}: {parent.fix})" if parent and parent.package != CORE else ""
    why = _left_out(missing) or f"there is no {missing}.yaml{_suggest_option(group, option, group)}"
    return f"{found[1]}.yaml, defaults: {why}{of}"


def _left_out(option: str) -> str:
    """The reason that an option of a broken plugin cannot be chosen; empty if no such plugin has it."""
    owners = [plugin for plugin in broken() if plugin.has(option)]
    return "; ".join(f"of plugin {plugin.source}: {plugin.error}" for plugin in owners)


def _lost() -> str:
    """The plugins whose options are unknown: the chosen one may be among them."""
    lost = [plugin for plugin in broken() if plugin.conf_dir is None]
    return "".join(f"; plugin {plugin.source} is left out: {plugin.error}" for plugin in lost)


def _suggest_option(group: str, option: str, key: str) -> str:
    options = _options(group)
    moved = [name for name in options if name.replace("/", "_") == option]  # as before folders: cifar10_r3gan
    partly = [name for name in options if option in name.split("/")]  # cifar10, or r3gan
    if closest(option, moved or options) and not partly:
        return did_you_mean(option, moved or options, f"{key}={{}}" if key else "{}")
    return f"; options: {', '.join(partly or options)}"


def _options(group: str) -> list[str]:
    return [option.name for option in options_of(group)]


def _not_an_option(command: str, overrides: list[str]) -> str:
    """A group was given null or a number, which Hydra does not name."""
    for typed in overrides:
        key, _, value = typed.lstrip("+").partition("=")
        options = _options(key.split("@")[0]) if key else []
        if options and value not in options and not value.startswith("["):
            if key == "model" and command != "train":
                return f"{typed}: the model is the checkpoint's; change a value of it with +model.KEY=VALUE"
            return f"{typed}: choose one of {', '.join(options)}"
    return f"{' '.join(overrides)}: a group needs the name of an option"


def explain_instantiation(error: Exception) -> UserError | None:
    """The UserError for a target that refused its arguments; None for a bug in the target's own code."""
    key = _full_key(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if _refuses_arguments(cause):
            text = _missing_arguments(cause, key) or (str(cause).splitlines() or [type(cause).__name__])[0]
            return UserError(f"{key}: {text}" if key else text)
        if isinstance(cause, OSError):
            return UserError(f"{key}: {cause}" if key else str(cause))
        cause = cause.__cause__
    return None


def _missing_arguments(cause: BaseException, key: str | None) -> str:
    """What to write for arguments that were removed, as with `~model.beta`; empty for other errors."""
    match = re.search(r"(\w+)\(\) missing \d+ required .*argument", str(cause))
    names = re.findall(r"'(\w+)'", str(cause)) if match else []
    if not names:
        return ""
    parent = f"{key}." if key else ""
    return f"{str(cause).splitlines()[0]}; give {' '.join(f'{parent}{name}=VALUE' for name in names)}"


def _refuses_arguments(cause: BaseException) -> bool:
    if cause.__cause__ is None and type(cause).__name__ == "InstantiationException":
        return True  # Hydra itself: a target that it cannot find, or does not trust
    if isinstance(cause, AttributeError):
        return "before Module.__init__() call" in str(cause)
    if isinstance(cause, TypeError):
        return bool(re.search(r"\(\) (missing|got|takes) |^Can't instantiate abstract class ", str(cause)))
    return isinstance(cause, ValueError | ImportError) or type(cause).__name__ == "MisconfigurationException"
