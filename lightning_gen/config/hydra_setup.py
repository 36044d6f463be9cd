"""Set Hydra up for our configs, and compose with it as it is: no checks, its own errors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_gen.config.plugins import add_to_search_path, conf_dir
from lightning_gen.config.run_id import new_run, register_resolvers

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_unchecked(command: str, overrides: Sequence[str]) -> "DictConfig":
    """The config as Hydra composes it, with its own node; a Hydra that is at work already is put aside meanwhile."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose(command, list(overrides), return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = outer


def prepare_hydra() -> None:
    """Make Hydra ready to compose a new run: our resolvers and the plugins' configs."""
    new_run()
    register_resolvers()
    add_to_search_path()
