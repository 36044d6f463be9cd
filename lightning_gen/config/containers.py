"""OmegaConf's containers as plain Python and back, each with the one type that its caller needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig


def as_dict(config: "DictConfig | Mapping[str, Any]") -> dict[str, Any]:
    """A mapping, and all containers in it, as plain Python, with every interpolation resolved."""
    from omegaconf import OmegaConf

    container: Any = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    return dict(container)


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
