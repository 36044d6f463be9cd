"""Configs: composed from YAML by Hydra, checked, and made into objects.

Its functions are imported on first use: `--help` needs none of them.
"""

from typing import TYPE_CHECKING

from lightning_gen.utilities.lazy import lazy

if TYPE_CHECKING:
    from lightning_gen.config.composition import check, compose
    from lightning_gen.config.instantiation import build_data, build_model, instantiate
    from lightning_gen.config.plugins import conf_dir

__all__ = ["build_data", "build_model", "check", "compose", "conf_dir", "instantiate"]

__getattr__ = lazy(
    __name__,
    {
        "build_data": "instantiation",
        "build_model": "instantiation",
        "check": "composition",
        "compose": "composition",
        "conf_dir": "plugins",
        "instantiate": "instantiation",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
