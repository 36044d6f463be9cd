"""What of a checkpoint may leave the machine: its model, its data, and no paths of its owner."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from lightning_gen.config.run_options import OPTIONS

CONFIG_KEYS = ("seed", "model", "data")
FACTS = ("image_shape", "num_classes", "class_names", "images_seen", "data", "versions", OPTIONS)
_ABSOLUTE = re.compile(r"(?P<key>[\w./@+~-]*=)?['\"]?(?P<path>(?:/|~|[A-Za-z]:[\\/]).*?)['\"]?")


def shareable(facts: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a checkpoint with the config of its `model`; absolute paths are cut to their last part."""
    config = {key: facts["config"][key] for key in CONFIG_KEYS if key in facts["config"]} | {"model": dict(model)}
    return without_paths({key: facts[key] for key in FACTS if key in facts} | {"config": config})


def without_paths(value: Any) -> Any:
    """Plain data in which absolute paths, also those of `key=PATH`, are cut to their last part."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    match = _ABSOLUTE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    path = match["path"]
    kind = PureWindowsPath if "\\" in path or path[1:2] == ":" else PurePosixPath
    return (match["key"] or "") + kind(path).name
