"""The options that a run was composed of, such as `model=dcgan`: kept with it, so that it can be composed again."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_gen.config.options import list_groups, options_of

OPTIONS = "options"  # their key in a run's config.yaml and checkpoints
# Names alone: no interpolation, no other value.
_OPTION = re.compile(r"[+~]{0,2}(?P<key>(?P<group>[\w/]+)(@[\w./]+)?)=(?P<value>[\w/.-]+|\[[\w/., -]*\])")


def options_among(overrides: Iterable[str]) -> list[str]:
    """The overrides that choose options of config groups."""
    groups = set(list_groups())
    return [text for text in overrides if (match := _OPTION.fullmatch(text)) and match["group"] in groups]


def names_start(overrides: Iterable[str]) -> bool:
    """Whether overrides of `train` name a run to start from."""
    return any(text.lstrip("+").startswith(("resume=", "init_from=")) for text in overrides)


def installed_options(options: Any) -> list[str]:
    """Those of `options`, which come from a file, that can be chosen today."""
    texts = [text for text in options if isinstance(text, str)] if isinstance(options, list) else []
    return [text for text in options_among(texts) if _is_installed(text)]


def not_among(options: Sequence[str], overrides: Iterable[str]) -> list[str]:
    """The `options` whose key none of the overrides has."""
    typed = {text.lstrip("+~").partition("=")[0] for text in overrides}
    return [text for text in options if text.lstrip("+~").partition("=")[0] not in typed]


def is_of_model(option: str) -> bool:
    """Whether an option is a part of the model, such as `network@model.encoder=mlp_encoder`."""
    return re.match(r"[+~]{0,2}([\w/]+@)?model\b", option) is not None


def _is_installed(option: str) -> bool:
    match = _OPTION.fullmatch(option)
    assert match
    names = {name for name in re.split(r"[\[\], ]+", match["value"]) if name} - {"null"}
    return names <= {known.name for known in options_of(match["group"])}
