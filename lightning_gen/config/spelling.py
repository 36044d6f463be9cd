"""Options by the names that people give them: `CIFAR-10`, `SGD`, `bce`."""

import re
from collections.abc import Mapping

from lightning_gen.config.options import options_of
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.words import OPTIONS

_NAME = r"[+-]?[\w./-]+"
_NAMES = re.compile(rf"\[? *{_NAME} *(, *{_NAME} *)*\]?")


def bare(word: str) -> str:
    """A word without what people spell differently: case, `_` and `-`."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def names_in(value: str) -> list[str]:
    """The names in the value of an override, `a`, `[a,b]` or `a,b`; none in a value of another kind."""
    return re.findall(_NAME, value) if _NAMES.fullmatch(value) else []


def with_names(value: str, names: Mapping[str, str]) -> str:
    """The value of an override with other names in their places; in a list each is named once."""
    changed = [names.get(name, name) for name in names_in(value)]
    return f"[{','.join(dict.fromkeys(changed))}]" if value.startswith("[") else ",".join(changed)


def option_named(group: str, name: str) -> str | None:
    """The option of a group that is spelled so, or means that; None if there is none, or several."""
    if re.fullmatch(r"[\w/-]+", name) and (conf_dir() / group / f"{name}.yaml").is_file():
        return name
    options = [option.name for option in options_of(group)]
    if name in options:
        return name
    synonym = OPTIONS.get(group.rpartition("/")[2], {}).get(bare(name))
    alike = [option for option in options if bare(option) == bare(name)]
    return synonym or (alike[0] if len(alike) == 1 else None)


def options_named(group: str, value: str, part: str = "") -> str | None:
    """The value of an override with our spelling of each option; None if a name is none of the group's.

    `resnet` for the part `encoder` is `resnet_encoder`.
    """
    found = {}
    for name in names_in(value):
        word = name.lstrip("+-")
        option = option_named(group, word) or (option_named(group, f"{word}_{part}") if part else None)
        if option is None:
            return None
        found[name] = name[: len(name) - len(word)] + option
    return with_names(value, found) if found else None
