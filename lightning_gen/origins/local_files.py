"""The file that a path to a checkpoint means on this machine; nothing is imported that takes time."""

import difflib
from pathlib import Path

from lightning_gen.errors import UserError

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"  # of an export, side by side in its folder
HOW_TO_FIND = "lightning-gen runs lists your runs"


def file_at(path: Path, key: str) -> Path:
    """`path`, or what a folder there means: of a run the best checkpoint, or to resume the last one.

    UserError for a folder without any, which names `key`.
    """
    if not path.is_dir():
        return path
    names = ("last.ckpt", "best.ckpt") if key == "resume" else ("best.ckpt", "last.ckpt")
    for file in (*(path / "checkpoints" / name for name in names), path / WEIGHTS):
        if file.is_file():
            return file
    wanted = f"checkpoints/best.ckpt, checkpoints/last.ckpt or {WEIGHTS}"
    raise UserError(f"{key}={path}: a folder without {wanted}; {HOW_TO_FIND}")


def check_is_file(path: Path, key: str) -> None:
    """UserError for a missing file, which names the one that was meant."""
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        fix = f"did you mean {path.parent / near[0]}?" if near else HOW_TO_FIND
        raise UserError(f"{key}={path}: no such file; {fix}")
