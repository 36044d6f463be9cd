"""From what a user types as a checkpoint to a local file or folder."""

import os
from pathlib import Path

from lightning_gen.origins import hub, zoo


def local(typed: str | os.PathLike, key: str) -> Path:
    """The local path of `zoo:NAME`, `hf://user/name[@revision]` or a path; UserError names `key`.

    A path may have become a `Path` before, in which `//` is one slash.
    """
    text = os.fspath(typed)
    if text.startswith(zoo.PREFIX):
        text = zoo.checkpoint(text, key)
    if text.startswith(hub.PREFIX) or text.startswith(hub.PREFIX[:-1]):
        return hub.download(text, key)
    return Path(text).expanduser()


def shared_name(path: Path) -> str | None:
    """The name of a checkpoint that is not in a folder of the user's: of a plugin, or downloaded. Else None.

    Nothing is written beside such a file.
    """
    return zoo.name_of(path) or hub.name_of(path)
