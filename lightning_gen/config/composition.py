"""Compose a config from overrides, resolve it and check it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning_gen.config.hydra_errors import explained
from lightning_gen.config.hydra_setup import compose_unchecked, prepare_hydra
from lightning_gen.config.plugins import check_choices, conf_dir
from lightning_gen.config.validation import check_targets, check_top_level, primary_keys
from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(overrides: Sequence[str] = (), command: str = "train", return_hydra_config: bool = False) -> "DictConfig":
    """The config that `lightning-gen <command> <overrides>` would run: checked, every interpolation resolved.

    With `return_hydra_config` it keeps Hydra's own node under `hydra`. Raises UserError, one line, for any mistake.
    """
    from omegaconf import open_dict

    prepare_hydra()
    with explained(command, overrides):
        config = compose_unchecked(command, overrides)
    hydra_node = config.hydra
    with open_dict(config):
        del config["hydra"]
    config = finish(config, hydra_node, command)
    if return_hydra_config:
        with open_dict(config):
            config["hydra"] = hydra_node
    return config


def finish(config: "DictConfig", hydra_node: "DictConfig", command: str) -> "DictConfig":
    """Resolve and check a config as Hydra composed it; `hydra_node` is what `${hydra:...}` in it refers to."""
    from omegaconf import OmegaConf, open_dict

    primary = conf_dir() / f"{hydra_node.job.config_name}.yaml"
    check_choices(OmegaConf.to_container(hydra_node.runtime.choices))
    if primary.is_file():
        with open_dict(config):
            for group, chosen in primary_keys(primary)[1].items():
                if isinstance(chosen, list) and group not in config:
                    config[group] = {}  # logger=[]; other keys may refer to it
    with explained(command, task_overrides(hydra_node)), _hydra_config(hydra_node):
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{command} needs {' '.join(f'{key}={_placeholder(key)}' for key in missing)}")
        OmegaConf.resolve(config)
    if primary.is_file():
        check_top_level(_plain(config), primary)
    check(config)
    return config


def task_overrides(hydra_node: "DictConfig") -> list[str]:
    """The overrides a config was composed with, as they were typed: what is an interpolation in them stays one."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(hydra_node.overrides.task, resolve=False)


def _placeholder(key: str) -> str:
    return "PATH" if key.rpartition(".")[2] in {"checkpoint", "path", "folder"} else "VALUE"


@contextmanager
def _hydra_config(node: "DictConfig") -> Iterator[None]:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    singleton = HydraConfig.instance()
    before, singleton.cfg = singleton.cfg, OmegaConf.create({"hydra": node}, flags={"allow_objects": True})
    try:
        yield
    finally:
        singleton.cfg = before


def check(config: "DictConfig | Mapping[str, Any]") -> None:
    """Check every key against the signature of the `_target_` that gets it; it imports the targets.

    Raises UserError for a target that cannot be imported, an unknown key, or a value of the wrong type.
    """
    check_targets(_plain(config))


def _plain(config: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
