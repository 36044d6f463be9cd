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


def choose_likelihood(config: "DictConfig") -> None:
    """Replace `model.likelihood` by the option that it names for the data, where it is that of by_data.yaml."""
    from omegaconf import DictConfig, OmegaConf

    by_data = OmegaConf.select(config, "model.likelihood")
    if not isinstance(by_data, DictConfig) or "_target_" in by_data or not by_data.keys() >= set(KINDS):
        return
    kind = KINDS[0] if is_black_and_white(config) else KINDS[1]
    OmegaConf.update(config, "model.likelihood", _option(by_data[kind], f"model.likelihood.{kind}"), merge=False)


def is_black_and_white(config: "DictConfig") -> bool:
    """Whether the data of a run's config is black and white, or made so."""
    from omegaconf import OmegaConf

    return any(OmegaConf.select(config, f"data.{key}") is True for key in ("black_and_white", "binarize"))


def _option(name: str, key: str) -> "DictConfig":
    from omegaconf import DictConfig, OmegaConf

    paths = [plugin.conf_dir / GROUP / f"{name}.yaml" for plugin in usable()]
    for path in paths:
        if path.is_file() and isinstance(content := OmegaConf.load(path), DictConfig):
            return content
    known = [option.name for option in list_options(GROUP)]
    raise UserError(f"{key}={name}: no such option{did_you_mean(str(name), known) or f'; there are {known}'}")
