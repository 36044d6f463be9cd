"""Plain words on the command line: `optimizer=sgd` for `optimizer@model.optimizer=sgd`, `lr=1e-3`, `model=GAN`.

A word is looked up in what the chosen options compose, so it means what the model has: first its parts, which are
chosen, then keys of the model, of the data, and of the trainer. The word as typed goes before its synonyms of
`config/words.py`. A name that several parts of the model have, such as `activation`, sets them all.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from lightning_gen.bounds import ModelSize
from lightning_gen.config.hydra_setup import Choice, choices_of, compose_unchecked
from lightning_gen.config.options import list_groups
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.run_options import not_among, options_among
from lightning_gen.config.signatures import signature_of
from lightning_gen.config.spelling import bare, names_in, option_named, options_named, with_names
from lightning_gen.config.validation import locate, primary_keys
from lightning_gen.config.words import HINTS, STEPS, SWITCHES, WORDS
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import similarity

T = TypeVar("T")
_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w./@-]*)=(?P<value>.*)")  # `+` and `~` are of those who know the keys
_SECTIONS = ("model.", "data.", "trainer.")
NEARLY = 0.9  # similarity of a misspelled key; no parameter of an optimizer or the trainer is as similar to a key
_OPTIMIZERS = ("model.optimizer", "model.discriminator_optimizer")  # `optimizer` means those of the whole model


def written_out(command: str, overrides: Sequence[str], options: Sequence[str] = ()) -> dict[str, list[str]]:
    """The overrides with plain words, and what each stands for; `options` are those of a run that is resumed.

    Raises UserError for a word of several meanings. A word without any is left to Hydra, which refuses it.
    """
    primary = conf_dir() / f"{command}.yaml"
    if not primary.is_file():
        return {}
    keys, groups = primary_keys(primary)
    reader = _Reader(command, overrides, options, {*keys, *groups, "hydra"}, set(groups))
    try:
        reader.read()
    except UserError:
        raise
    except Exception:  # another mistake in the overrides, which Hydra tells
        pass
    return reader.full


def _may_hold_images(folder: Path) -> bool:
    """Whether it is a folder, and not that of a plugin, whose option of the same name may be meant."""
    return folder.is_dir() and not any((folder / name).is_file() for name in ("pyproject.toml", "__init__.py"))


class _Reader:
    """Reads the overrides of a command line; `full` has what it has found so far."""

    def __init__(self, command: str, overrides: Sequence[str], options: Sequence[str], top: set[str], groups: set[str]):
        self.command, self.overrides, self.options = command, overrides, options
        self.top, self.groups = top, groups
        self.full: dict[str, list[str]] = {}
        self.choices: list[Choice] = []
        self.keys: dict[str, Any] = {}

    def read(self) -> None:
        """Fill `full`; each step needs more of the config, and most command lines none."""
        unread = self._take(self.overrides, self._without_composing)
        unread = [text for text in unread if self._depends_on_choices(*_split(text))]
        if unread:
            self.choices = choices_of(self.command, self._chosen())
            unread = self._take(unread, self._as_part)
        if unread:
            self.keys = dict(_dotted(compose_unchecked(self.command, self._chosen())))
            for text in self._take(unread, self._as_key):
                self._explain(*_split(text))

    def _take(self, texts: Sequence[str], meaning: Callable[[str, str], list[str]]) -> list[str]:
        """Note what the texts mean, and return those that it finds nothing for."""
        unread = []
        for text in filter(_OVERRIDE.fullmatch, texts):
            found = meaning(*_split(text))
            if found and found != [text]:
                self.full[text] = found
            else:
                unread.append(text)
        return unread

    def _so_far(self) -> Iterator[str]:
        """All overrides, with the words written out that are read already."""
        for text in self.overrides:
            yield from self.full.get(text, [text])

    def _chosen(self) -> list[str]:
        """The options that are chosen so far, one of each sweep."""
        single = (re.sub(r"=([^\[,]+),.*", r"=\1", text) for text in self._so_far())
        typed = [text for text in options_among(single) if self._is_choice(text)]
        return [*not_among(self.options, typed), *typed]

    def _is_choice(self, text: str) -> bool:
        """Whether Hydra can read an override that names options of a group."""
        key = text.lstrip("+~").partition("=")[0]
        return (key in self.top or bool(re.search("[@/]", key))) and not re.search(r"[=\[, ][+-]", text)

    # What does not depend on the chosen options.

    def _without_composing(self, key: str, value: str) -> list[str]:
        if self._is_of_checkpoint(key):
            return [f"+{key}={value}"]
        known, *synonyms = _names(key)
        if known in self.top and known not in self.groups:
            return [f"{known}={value}"]
        if (group := next((name for name in (known, *synonyms) if name in self.groups), None)) is not None:
            return self._choice(group, group, value)
        if "@" in key or ("/" in key and key in list_groups()):
            return self._choice(key, key.partition("@")[0], value)
        if bare(key) == "size" and "model" in self.groups and value in get_args(ModelSize):
            return [f"model.size={value}"]
        if bare(key) == "gpus" and value.isdigit() and "trainer" in self.groups:
            return ["trainer=gpu"] if value == "1" else ["trainer=ddp", f"trainer.devices={value}"]
        return self._as_switch(key, value.lower())

    def _is_of_checkpoint(self, key: str) -> bool:
        """Whether a key is the model's or the data's of a checkpoint, whose values are changed with `+`."""
        section, dot, _ = key.partition(".")
        chosen = any(text.startswith(f"{section}=") for text in self.overrides)
        return section in ("model", "data") and {"checkpoint", section} <= self.top and bool(dot) and not chosen

    def _as_switch(self, key: str, value: str) -> list[str]:
        """`fp16=true`; `wandb=true`: an option of a group of several, added or left out."""
        if value not in ("true", "false"):
            return []
        switch = SWITCHES.get(bare(key), "") if value == "true" else ""
        if switch and re.split(r"[.=]", switch)[0] in self.top:
            return [switch]
        for group in ("logger", "callbacks", "metrics"):
            option = option_named(group, key) if group in self.groups else None
            if option:
                return self._choice(group, group, f"[{'-+'[value == 'true']}{key}]")
        return []

    def _choice(self, key: str, group: str, value: str) -> list[str]:
        """The choice of the options that `value` names, with our spelling of them."""
        if re.search(r"\s\S+=", value):  # two overrides in one, which Hydra refuses
            return []
        if (
            group == "data"
            and not option_named(group, value)
            and _may_hold_images(Path(value.strip("'\"")).expanduser())
        ):
            return ["data=folder", f"data.path={value}"]
        if group == "data" and re.match(r"[~./]", value):
            raise UserError(f"{key}={value}: there is no such folder; write data=folder data.path=FOLDER")
        names = names_in(value)
        signed = any(name.startswith(("+", "-")) for name in names)
        if signed:
            written = [f"{key}=[{','.join(self._changed(key, names))}]"]
        else:
            written = [f"{key}={with_names(value, {name: option_named(group, name) or name for name in names})}"]
        is_fid = group == "metrics" and not {"fid", "+fid"}.isdisjoint(map(str.lower, names))
        if is_fid and not self._chooses("extractor"):  # the Fréchet distance of its features alone is called FID
            written += self._choice("extractor", "extractor", "[+inception]" if signed else "[inception]")
        return written

    def _chooses(self, group: str) -> bool:
        return any(text.lstrip("+").startswith(f"{group}=") for text in self.overrides)

    def _changed(self, key: str, names: Sequence[str]) -> list[str]:
        """The options of a group as chosen, with those added and left out whose names have a sign."""
        group = key.partition("@")[0]
        chosen = [choice.option for choice in choices_of(self.command, self._chosen()) if choice.key == key]
        options = [option for option in chosen if option != "none"]
        for name in names:
            option = option_named(group, name.lstrip("+-")) or name.lstrip("+-")
            if name.startswith("-") and option not in options:
                raise UserError(f"{key}=[{name}]: {option} is not chosen; chosen are {', '.join(options) or 'none'}")
            options = [other for other in options if other != option]
            if not name.startswith("-"):
                options.append(option)
        return options

    # Parts of the model and of the data.

    def _depends_on_choices(self, key: str, value: str) -> bool:
        first = re.split(r"[./]", key)[0]
        if "@" in key or first == "hydra":
            return False
        groups = (key.replace(".", "/"), "optimizer", "schedule", "network")
        return first not in self.top or "/" in key or ("." in key and any(options_named(g, value) for g in groups))

    def _as_part(self, key: str, value: str) -> list[str]:
        path = key.replace("/", ".")
        for name in [path] if "." in path else _names(path):
            places = self._places(name)
            options = {place: option for place in places if (option := options_named(place.group, value, place.part))}
            # Encoders and decoders are of one group.
            own = {place: option for place, option in options.items() if option.endswith(f"_{place.part}")}
            if options:
                choices = own or options
                return [text for p, option in choices.items() for text in self._choice(p.key, p.group, option)]
            if places and re.fullmatch(r"[A-Za-z][\w/-]*", value) and value not in ("true", "false"):
                return [f"{places[0].key}={value}"]  # Hydra tells the options
        return []

    def _places(self, name: str) -> list[Choice]:
        """The nearest parts of that name, or else of the group of that name."""
        if name == "optimizer":
            return [choice for choice in self.choices if choice.place in _OPTIMIZERS]
        parts = [choice for choice in self.choices if choice.place.startswith(_SECTIONS)]
        named = [choice for choice in parts if _ends(choice.place, name)]
        grouped = [choice for choice in parts if choice.group.rpartition("/")[2] == name]
        return _nearest(named or grouped, lambda choice: choice.place)

    # Keys of the config.

    def _as_key(self, key: str, value: str) -> list[str]:
        for name in _names(key):
            if name in self.keys:
                return [_set(key, name, value)]
            found = self._keys_named(name)
            nearest = (_nearest([path for path in found if path.startswith(section)], str) for section in _SECTIONS)
            of_section = next(filter(None, nearest), [])
            if of_section or (len(found) == 1 and bare(key) not in {*WORDS, *HINTS}):
                return _set_all(of_section or found, _value(name, value))
        return self._as_length(key, value) or self._as_parameter(key, value)

    def _keys_named(self, name: str) -> list[str]:
        """All keys of that name, but for those that follow another one."""
        return [path for path, own in self.keys.items() if _ends(path, name) and not str(own).startswith("${")]

    def _as_length(self, key: str, value: str) -> list[str]:
        """The length of a run, which is counted in images, by a number of steps."""
        if bare(key) not in STEPS or not value.isdigit():
            return []
        typed = [text.partition("=")[2] for text in self._so_far() if text.startswith("data.batch_size=")]
        batch = next(filter(str.isdigit, typed), self.keys.get("data.batch_size"))
        return [f"trainer.max_images={int(value) * int(batch)}"] if batch else []

    def _as_parameter(self, key: str, value: str) -> list[str]:
        """A parameter of the optimizer or the trainer that their files leave out."""
        if bare(key) in HINTS or not key.isidentifier() or self._is_misspelled(key):
            return []
        for places in (_OPTIMIZERS, ("trainer",)):
            target = self.keys.get(f"{places[0]}._target_")
            if isinstance(target, str) and key in signature_of(locate(target, f"{places[0]}._target_")).parameters:
                return [f"+{place}.{key}={value}" for place in places if f"{place}._target_" in self.keys]
        return []

    def _is_misspelled(self, key: str) -> bool:
        """Whether a key is nearly one of ours: to know those of PyTorch and Lightning takes seconds."""
        known = {*self.top, *(path.rpartition(".")[2] for path in self.keys)}
        return any(similarity(key, name) >= NEARLY for name in known)

    def _explain(self, key: str, value: str) -> None:
        """Raise UserError if it is known what to write instead."""
        found = self._keys_named(key) if bare(key) not in WORDS else []
        if len(found) > 1:
            raise UserError(f"{key}={value}: several keys; write {' or '.join(f'{path}={value}' for path in found)}")
        hint = next((HINTS[name] for name in (*_names(key), bare(key)) if name in HINTS), None)
        if hint and {"model", "data"} <= self.groups:
            raise UserError(f"{key}={value}: {hint.replace('{}', value)}")


def _split(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _names(key: str) -> tuple[str, ...]:
    """The key as we spell keys, and its synonyms; a word for the data's, such as `size`, has no other meaning."""
    words = WORDS.get(bare(key), ())
    return words if words and words[0].startswith("data.") else (key.replace("-", "_").lower(), *words)


def _set(word: str, key: str, value: str) -> str:
    return f"{key}=outputs/{value}" if key == "run_dir" and bare(word) == "name" else f"{key}={value}"


def _value(name: str, value: str) -> str:
    return "null" if name == "ema_decay" and value == "false" else value


def _ends(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _nearest(items: Sequence[T], path: Callable[[T], str]) -> list[T]:
    """The items whose paths have the fewest dots."""
    least = min((path(item).count(".") for item in items), default=0)
    return [item for item in items if path(item).count(".") == least]


def _set_all(paths: Sequence[str], value: str) -> list[str]:
    """The overrides that give keys the same value; in a sweep the others follow the first."""
    first, *others = paths
    is_sweep = re.search(r",(?![^\[({]*[\])}])", value)
    return [f"{first}={value}", *(f"{path}=" + (f"${{{first}}}" if is_sweep else value) for path in others)]


def _dotted(config: Any) -> Iterator[tuple[str, Any]]:
    """The keys with a value of a composed config, and their values, with interpolations unresolved."""
    from omegaconf import OmegaConf

    pending: list[tuple[str, Any]] = [("", OmegaConf.to_container(config, resolve=False))]
    while pending:
        parent, node = pending.pop(0)
        for key, value in node.items():
            if isinstance(value, dict) and key != "hydra":
                pending.append((f"{parent}{key}.", value))
            elif key != "hydra":
                yield f"{parent}{key}", value
