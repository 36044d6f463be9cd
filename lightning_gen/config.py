"""Composing configs, and making objects of them: the project's only door to Hydra."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning_gen.checking import check_targets, check_top_level, primary_keys
from lightning_gen.errors import UserError
from lightning_gen.plugins import add_to_search_path, check_choices, conf_dir, discover
from lightning_gen.resolvers import new_run, register_resolvers

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = [
    "check",
    "compose",
    "compose_unchecked",
    "conf_dir",
    "finish",
    "instantiate",
    "prepare_hydra",
    "task_overrides",
]

# Hydra 1.4 runs only targets of packages that are named.
TRUSTED = ["lightning_gen", "torch", "lightning", "torchmetrics", "torchvision", "timm", "wandb", "pathlib", "hydra"]


def compose(overrides: Sequence[str] = (), command: str = "train", return_hydra_config: bool = False) -> "DictConfig":
    """The config that `lightning-gen <command> <overrides>` would run: checked, every interpolation resolved.

    With `return_hydra_config` it keeps Hydra's own node under `hydra`. Raises UserError, one line, for any mistake.
    """
    from omegaconf import open_dict

    from lightning_gen.explaining import explained

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


def finish(config: "DictConfig", hydra_node: "DictConfig", command: str) -> "DictConfig":
    """Resolve and check a config as Hydra composed it; `hydra_node` is what `${hydra:...}` in it refers to."""
    from omegaconf import OmegaConf, open_dict

    from lightning_gen.explaining import explained

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


def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
    """Make the object `config` describes, lists and mappings in it as plain Python.

    Raises UserError with the config key when the target refuses its arguments.
    """
    import inspect

    import hydra
    from hydra.errors import InstantiationException

    from lightning_gen.explaining import explain_instantiation

    if "_execution_whitelist_" in inspect.signature(hydra.utils.instantiate).parameters:
        packages = TRUSTED + [plugin.package for plugin in discover()]
        kwargs["_execution_whitelist_"] = [f"{package}.*" for package in packages]
    try:
        return hydra.utils.instantiate(config, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        mended = explain_instantiation(error)
        if mended is None:
            raise
        raise mended from None
