"""OmegaConf's containers as plain Python and back, each with the one type that its caller needs."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig


def as_dict(config: "DictConfig | Mapping[str, Any]") -> dict[str, Any]:
    """A mapping, and all containers in it, as plain Python, with every interpolation resolved."""
    from omegaconf import OmegaConf

    container: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    return dict(container)


def expand_home(config: "DictConfig | ListConfig") -> None:
    """Replace `~` at the start of every text in a resolved config, in place: shells do so only for a word's start.

    UserError for the home of an unknown user, which would become a folder called `~name`.
    """
    from omegaconf import DictConfig, OmegaConf

    for key in config if isinstance(config, DictConfig) else range(len(config)):
        value = config[key]
        if OmegaConf.is_config(value):
            expand_home(value)
        elif isinstance(value, str) and value.startswith("~"):
            config[key] = os.path.expanduser(value)
            if config[key].startswith("~") and "/" in value:
                raise UserError(f"{key}={value}: there is no such user; a folder of that name is ./{value}")


def overrides_as_typed(overrides: Any) -> list[str]:
    """Overrides that Hydra keeps as a ListConfig, with their interpolations unresolved."""
    from omegaconf import OmegaConf

    return [str(override) for override in OmegaConf.to_container(overrides, resolve=False) or []]


def merge(*configs: "DictConfig | Mapping[str, Any]") -> "DictConfig":
    """A new config of all these; where they differ, the last one counts."""
    from omegaconf import DictConfig, OmegaConf

    config = OmegaConf.merge(*configs)
    assert isinstance(config, DictConfig)
    return config
