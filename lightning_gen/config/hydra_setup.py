"""Hydra set up for our configs, and composing with it: without our checks, with its own errors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_gen.config.plugins import add_to_search_path, conf_dir
from lightning_gen.config.run_id import register_resolver, reset_run_id
from lightning_gen.config.sizes import register_by_size
from lightning_gen.utilities.compat import hydra_set_aside

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_unchecked(command: str, overrides: Sequence[str]) -> "DictConfig":
    """The config as Hydra composes it, with its own node `hydra`; also inside a job, and where Hydra is in use."""
    import hydra

    with hydra_set_aside(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose(command, list(overrides), return_hydra_config=True)


def prepare_hydra() -> None:
    """Prepare Hydra for composing a new run: our resolvers and the plugins' configs."""
    reset_run_id()
    register_resolver()
    register_by_size()
    add_to_search_path()
