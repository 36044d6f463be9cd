"""Texts that YAML takes for numbers: `checkpoint=2024_11` names a file, not the number 202411."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lightning_gen.config.keys import SECTIONS, annotation_of
from lightning_gen.config.signatures import fits, signature_of
from lightning_gen.config.validation import locate

if TYPE_CHECKING:
    from omegaconf import DictConfig


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
