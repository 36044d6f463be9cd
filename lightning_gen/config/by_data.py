"""`model/likelihood=by_data`, the default of most models: the likelihood that suits the values of the data's pixels.

The option names two others, for data whose option says `black_and_white: true` (or that is binarized), and for all
else. It is replaced by one of them before anything is checked or saved, so that a run's config has the likelihood
itself, and a checkpoint keeps its own.
"""

from typing import TYPE_CHECKING

from lightning_gen.config.options import list_options
from lightning_gen.config.plugins import usable
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig

GROUP = "model/likelihood"
KINDS = ("black_and_white", "others")
DATA_KEYS = ("black_and_white", "binarize")  # of which either makes data black and white


def choose_likelihood(config: "DictConfig") -> None:
    """Replace `model.likelihood` by the option that it names for the data, where it is that of by_data.yaml."""
    from omegaconf import DictConfig, OmegaConf

    by_data = OmegaConf.select(config, "model.likelihood")
    if not isinstance(by_data, DictConfig) or "_target_" in by_data or not by_data.keys() >= set(KINDS):
        return
    kind = KINDS[0] if any(OmegaConf.select(config, f"data.{key}") is True for key in DATA_KEYS) else KINDS[1]
    OmegaConf.update(config, "model.likelihood", _option(by_data[kind], f"model.likelihood.{kind}"), merge=False)


def choose_as(config: "DictConfig", other: "DictConfig") -> None:
    """Let `config`, not finished yet, have the likelihood that the data of `other` chooses."""
    from omegaconf import OmegaConf

    for key in DATA_KEYS:
        OmegaConf.update(config, f"data.{key}", OmegaConf.select(other, f"data.{key}", default=False), force_add=True)


def _option(name: str, key: str) -> "DictConfig":
    from omegaconf import DictConfig, OmegaConf

    for plugin in usable():
        path = plugin.conf_dir / GROUP / f"{name}.yaml"
        if path.is_file() and isinstance(content := OmegaConf.load(path), DictConfig):
            return content
    known = [option.name for option in list_options(GROUP)]
    raise UserError(f"{key}={name}: no such option{did_you_mean(str(name), known) or f'; there are {known}'}")
