"""`model.size`: one dial for those numbers of a model's YAML file that grow together.

There, `width: ${by_size:16,32,64}` is 16 in a small model, 32 in a base and 64 in a large one. A number given on the
command line replaces the whole of it: `model.size=small model.encoder.width=48` is what it says.
"""

from typing import Any, get_args

from lightning_gen.bounds import ModelSize
from lightning_gen.config.plugins import usable
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

SIZES = get_args(ModelSize)


def register_by_size() -> None:
    """Make `${by_size:SMALL,BASE,LARGE}` known to OmegaConf."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("by_size", by_size, replace=True)


def models_with_sizes() -> list[str]:
    """The options of `model` whose files have the dial."""
    files = [file for plugin in usable() for file in sorted(plugin.conf_dir.glob("model/*.yaml"))]
    return [file.stem for file in files if "${by_size:" in file.read_text(errors="replace")]


def by_size(*values: Any, _root_: Any) -> Any:
    """The one of three `values` that `model.size` chooses; UserError for a size that there isn't."""
    size = _root_.model.get("size")
    if size not in SIZES:
        raise UserError(f"model.size={size}: expected one of {', '.join(SIZES)}{did_you_mean(str(size), SIZES)}")
    return dict(zip(SIZES, values, strict=True))[size]
