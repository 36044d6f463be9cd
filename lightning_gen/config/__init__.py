"""Configs: composed from YAML by Hydra, checked, and made into objects. Only this package and `cli` know Hydra."""

from lightning_gen.config.composition import check, compose
from lightning_gen.config.instantiation import build_data, build_model, instantiate
from lightning_gen.config.plugins import conf_dir

__all__ = ["build_data", "build_model", "check", "compose", "conf_dir", "instantiate"]
