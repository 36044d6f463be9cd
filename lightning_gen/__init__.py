"""Experiments with image generators: GANs, VAEs and recurrent models.

From Python: `compose(["model=vae"])` makes the config of a run, `load_model("my_run")` loads the model of a run, and
`list_options("model")` lists the options of a group, with those of plugins. They are imported on first use.
"""

from typing import TYPE_CHECKING

from lightning_gen.utilities import renames
from lightning_gen.utilities.lazy import lazy

if TYPE_CHECKING:
    from lightning_gen.checkpoint import load_model
    from lightning_gen.config import compose
    from lightning_gen.config.options import list_options

__all__ = ["compose", "list_options", "load_model"]

renames.install()

__getattr__ = lazy(__name__, {"compose": "config", "list_options": "config.options", "load_model": "checkpoint"})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
