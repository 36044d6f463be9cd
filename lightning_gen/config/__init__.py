"""Configs: composed from YAML by Hydra, checked, and made into objects. Only this package and `cli` know Hydra.

Its functions are imported on first use: `--help` needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_gen.config.composition import check, compose
    from lightning_gen.config.instantiation import build_data, build_model, instantiate
    from lightning_gen.config.plugins import conf_dir

__all__ = ["build_data", "build_model", "check", "compose", "conf_dir", "instantiate"]

_HOMES = {
    "build_data": "instantiation",
    "build_model": "instantiation",
    "check": "composition",
    "compose": "composition",
    "conf_dir": "plugins",
    "instantiate": "instantiation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
