"""Experiments with image generators: GANs, VAEs and recurrent models.

From Python: `train("model=vae")` trains and gives a `Run`, `Run("my_run")` opens one, `load_model("my_run")` loads its
model alone, `compose("model=vae")` makes the config of a run, `list_options("model")` lists the options of a group,
with those of plugins, and `to_pil` shows images. They are imported on first use.
"""

from typing import TYPE_CHECKING

from lightning_gen.utilities import renames
from lightning_gen.utilities.lazy import lazy

if TYPE_CHECKING:
    from lightning_gen.checkpoint import load_model
    from lightning_gen.config import compose
    from lightning_gen.config.options import list_options
    from lightning_gen.images import to_pil
    from lightning_gen.training.notebook import Run, train

__all__ = ["Run", "compose", "list_options", "load_model", "to_pil", "train"]

renames.install()

__getattr__ = lazy(
    __name__,
    {
        "Run": "training.notebook",
        "compose": "config",
        "list_options": "config.options",
        "load_model": "checkpoint",
        "to_pil": "images",
        "train": "training.notebook",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
