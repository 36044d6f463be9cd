"""Texts that Hydra or YAML take for something else.

`checkpoint=2024_11` names a file, not the number 202411, and `label=кошки` needs no quotes.
"""

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lightning_gen.config.keys import SECTIONS, annotation_of
from lightning_gen.config.signatures import fits, signature_of
from lightning_gen.config.validation import locate

if TYPE_CHECKING:
    from omegaconf import DictConfig


# What Hydra's grammar reads without quotes, in a value or an item of a list.
_PLAIN = re.compile(r"[\w /\\+.$%*@?|:=-]*", re.ASCII)


def quoted(text: str) -> str:
    """`text`, with any characters, as a quoted string of Hydra's override grammar."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text=text, quote=Quote.single).with_quotes()


def with_quotes(override: str) -> str:
    """An override that Hydra can read: texts in its value are quoted where it could not; others stay as they are."""
    key, equals, value = override.partition("=")
    if not re.fullmatch(r"[\w./@+~]+", key) or not equals or _PLAIN.fullmatch(value) or _readable(override):
        return override
    listed = re.fullmatch(r"\[([^\[\]{}]*)\]", value)
    if value[0] in "'\"{" or (value[0] == "[" and not listed):
        return override  # a mistake in it
    if listed:
        value = f"[{_items(listed[1])}]"
    else:
        value = quoted(value) if os.path.exists(os.path.expanduser(value)) else _items(value)
    return f"{key}={value}" if _readable(f"{key}={value}") else override


def _items(text: str) -> str:
    items = [item.strip() for item in text.split(",")]
    return ",".join(item if _PLAIN.fullmatch(item) or item[0] in "'\"" else quoted(item) for item in items)


def _readable(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def restore_text(config: "DictConfig", command: str, overrides: Iterable[str]) -> None:
    """Put the text of an override where it was read as a number and only text fits; call it before resolving."""
    from omegaconf import OmegaConf

    last = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    for key, typed in last.items():
        if not all(part.isidentifier() for part in key.split(".")):
            continue  # a group, or a removal
        value = OmegaConf.select(config, key)
        if type(value) in (int, float):
            annotation = _annotation(config, key, command)
            if fits(typed, annotation) and not fits(value, annotation):
                OmegaConf.update(config, key, typed)


def _annotation(config: "DictConfig", key: str, command: str) -> Any:
    from omegaconf import OmegaConf

    parent, _, name = key.rpartition(".")
    if not parent or parent in SECTIONS:
        return annotation_of(name, command)
    target = OmegaConf.select(config, f"{parent}._target_")
    return (
        signature_of(locate(target, f"{parent}._target_")).parameters.get(name, Any) if isinstance(target, str) else Any
    )
