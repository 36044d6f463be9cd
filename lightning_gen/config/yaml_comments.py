"""The comments of a YAML file, by the key that they are about."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HIDDEN = {"_target_", "_partial_", "_convert_", "_recursive_"}  # keys that are not of users
_KEY = re.compile(r"""(?P<indent> *)['"]?(?P<key>[\w./@-]+)['"]?:(?P<rest>.*)""")


def comments_in(path: Path) -> dict[str, str]:
    """The comment behind each key of a file, or on the lines above it, by dotted key."""
    found, parents, above = {}, [], []
    for line in path.read_text().splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.strip("# "))
            continue
        match = _KEY.fullmatch(line)
        if match:
            indent = len(match["indent"])
            parents = [(depth, key) for depth, key in parents if depth < indent] + [(indent, match["key"])]
            behind = re.search(r"(?:^|\s)# *(.*)$", match["rest"])
            found[".".join(key for _, key in parents)] = behind[1] if behind else " ".join(above)
        above = []
    return found


def dotted(node: Mapping[str, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of nested mappings, and their values, which are no mappings but empty ones."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{parent}{key}.")
        else:
            yield f"{parent}{key}", value
