"""How a run was scored: `evaluate` scores its checkpoints in the same way, where no other values are typed."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_gen.checkpoint import read_checkpoint, saved_parts
from lightning_gen.cli.checkpoint_options import run_folder
from lightning_gen.config.composition import check
from lightning_gen.config.containers import as_dict
from lightning_gen.errors import UserError
from lightning_gen.training.resume import confirmed
from lightning_gen.utilities.printable import printable

GROUPS = ("metrics", "extractor")
KEYS = ("num_samples", "num_real", "batch_size", "seed", "half_samples")  # of `evaluation`; scores are of test images


def use_own_protocol(cfg: DictConfig, overrides: Sequence[str], checkpoint: Path) -> None:
    """Set metrics, extractor and settings that are not among the overrides to those of the checkpoint's run, in place.

    Those of a run without metrics stay, and those of one whose metrics are not installed, which a line tells.
    """
    typed = {re.split(r"[./@=]", text.lstrip("+~"))[0] for text in overrides}
    try:
        found = {key: value for key, value in _protocol(checkpoint).items() if key not in typed}
        _check(cfg, found, checkpoint)
    except UserError as error:
        print(printable(f"not scored as its run was: {error}"), file=sys.stderr)
        return
    for key, value in found.items():
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    if names := [key for key in GROUPS if key in found]:
        told = " ".join(f"{key}=[{','.join(cfg[key])}]" for key in names)
        print(printable(f"scored as its run was: {told}; type them to choose others"), file=sys.stderr)


def _protocol(checkpoint: Path) -> dict[str, Any]:
    """What the config in a checkpoint has of it, empty if its run was not scored; UserError for unknown classes."""
    saved = saved_parts(read_checkpoint(checkpoint), f"checkpoint={checkpoint}", (*GROUPS, "evaluation"))
    chosen = {group: {name: part for name, part in saved.get(group, {}).items() if part} for group in GROUPS}
    if not all(chosen.values()):
        return {}
    return chosen | {key: value for key, value in saved.get("evaluation", {}).items() if key in KEYS}


def _check(cfg: DictConfig, found: Mapping[str, Any], checkpoint: Path) -> None:
    """UserError for wrong keys and values, and for paths and hashes that nobody has confirmed."""
    check(as_dict(cfg) | dict(found), "evaluate")
    parts = {key: value for key, value in found.items() if key in GROUPS}
    confirmed(cfg, OmegaConf.create({**parts, "run_dir": str(run_folder(checkpoint))}), f"checkpoint={checkpoint}")
