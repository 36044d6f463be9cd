"""`sweep=NAME` and `launcher=NAME`, which only multiruns have: mistakes in them, before anything is made."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_gen.errors import UserError, missing_package

if TYPE_CHECKING:
    from omegaconf import DictConfig

LAUNCHERS = {"joblib": "hydra_joblib_launcher", "slurm": "hydra_submitit_launcher"}  # packages in `hydra_plugins`


def check_words(overrides: Sequence[str]) -> None:
    """UserError for a name of a sweep that is no folder's name, or a launcher whose package is missing."""
    typed = dict(text.split("=", 1) for text in overrides if text.startswith(("sweep=", "launcher=")))
    name = typed.get("sweep", "null").strip("'\"")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"sweep={name}: its runs are in outputs/sweeps/NAME; give letters, digits and . _ + - alone")
    launcher = typed.get("launcher", "")
    if not is_installed(launcher):
        raise missing_package(f"launcher={launcher}", LAUNCHERS[launcher].replace("_", "-"), launcher)


def is_installed(launcher: str) -> bool:
    """Whether the package of an option of `launcher` is there; those without one are."""
    from importlib.util import find_spec

    package = LAUNCHERS.get(launcher)
    return package is None or (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{package}")) is not None


def check_single(config: "DictConfig", node: "DictConfig") -> None:
    """UserError if a single run has what only a multirun uses."""
    if config.get("sweep") is not None:
        raise UserError(f"sweep={config.sweep}: names a multirun, and this is a single run; add -m")
    if launcher := node.runtime.choices.get("launcher"):
        raise UserError(f"launcher={launcher}: starts the runs of a multirun, and this is a single run; add -m")
