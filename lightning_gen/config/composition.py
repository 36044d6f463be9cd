"""Composing: from overrides to a resolved and checked config."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_gen.config.by_data import choose_likelihood
from lightning_gen.config.containers import as_dict, expand_home, overrides_as_typed
from lightning_gen.config.hydra_errors import explained
from lightning_gen.config.hydra_setup import compose_unchecked, prepare_hydra
from lightning_gen.config.own_values import use_own_values
from lightning_gen.config.plain_words import written_out
from lightning_gen.config.plugins import check_choices, conf_dir
from lightning_gen.config.text_values import restore_text, with_quotes
from lightning_gen.config.validation import check_keys, check_targets, check_top_level, primary_keys
from lightning_gen.errors import UserError
from lightning_gen.utilities.compat import hydra_config

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(
    overrides: str | Sequence[str] = (), command: str = "train", return_hydra_config: bool = False
) -> "DictConfig":
    """The config that `lightning-gen <command> <overrides>` would run: checked, with every interpolation resolved.

    `overrides` are a list, or one text as on the command line. With `return_hydra_config` it keeps Hydra's own node as
    `hydra`. Raises UserError, one line, for any mistake.
    """
    from omegaconf import open_dict

    if "=" in command:
        raise UserError(f"compose(..., {command!r}): give all overrides as one list or text, {command} is no command")
    config, hydra_node = compose_unresolved(command, overrides_of(overrides))
    config = finish(config, hydra_node, command)
    if return_hydra_config:
        with open_dict(config):
            config["hydra"] = hydra_node
    return config


def overrides_of(overrides: str | Sequence[str]) -> list[str]:
    """A list of overrides, or the words of one text, with a shell's quotes."""
    return shlex.split(overrides) if isinstance(overrides, str) else list(overrides)


def compose_unresolved(command: str, overrides: Sequence[str]) -> tuple["DictConfig", "DictConfig"]:
    """A config with its interpolations, to be changed before it goes to `finish`, and Hydra's own node."""
    from omegaconf import open_dict

    prepare_hydra()
    overrides = list(map(with_quotes, overrides))
    in_full = written_out(command, overrides)
    overrides = [full for text in overrides for full in in_full.get(text, [text])]
    with explained(command, overrides):
        config = compose_unchecked(command, overrides)
    hydra_node = config.hydra
    with open_dict(config):
        del config["hydra"]
    return config, hydra_node


def finish(config: "DictConfig", hydra_node: "DictConfig", command: str) -> "DictConfig":
    """Resolve and check a config that Hydra composed; `${hydra:...}` in it refers to `hydra_node`."""
    from omegaconf import OmegaConf, open_dict

    primary = conf_dir() / f"{hydra_node.job.config_name}.yaml"
    check_choices(as_dict(hydra_node.runtime.choices))
    if primary.is_file():
        with open_dict(config):
            for group, chosen in primary_keys(primary)[1].items():
                if isinstance(chosen, list) and group not in config:
                    config[group] = {}  # logger=[]; other keys may refer to it
    with explained(command, task_overrides(hydra_node)), hydra_config(hydra_node):
        use_own_values(config, hydra_node.job.config_name, task_overrides(hydra_node))
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{command} needs {' '.join(f'{key}={_placeholder(key)}' for key in missing)}")
        restore_text(config, command, task_overrides(hydra_node))
        choose_likelihood(config)
        OmegaConf.resolve(config)
    expand_home(config)
    if primary.is_file():
        check_top_level(as_dict(config), primary)
    check(config, command)
    return config


def task_overrides(hydra_node: "DictConfig") -> list[str]:
    """The overrides a config was composed with, as they were typed: interpolations in them are left unresolved."""
    return overrides_as_typed(hydra_node.overrides.task)


def _placeholder(key: str) -> str:
    return "PATH" if key.rpartition(".")[2] in {"checkpoint", "path", "folder", "images"} else "VALUE"


def check(config: "DictConfig | Mapping[str, Any]", command: str = "train") -> None:
    """Check the command's own keys, and every other key against the signature of its `_target_`, which is imported.

    Raises UserError for a target that cannot be imported, an unknown key, or a value of the wrong type.
    """
    plain = as_dict(config)
    check_keys(plain, command)
    check_targets(plain)
