"""The four ways to start a run: each gives a config and a checkpoint to load.

- new: `resume` and `init_from` are null.
- continue: `run_dir=PATH resume=true` goes on with the run in that folder, under its own config.
- warm start: `resume=CHECKPOINT` takes that run's config and whole state into a new folder.
- finetune: `init_from=CHECKPOINT` takes its model config and weights, nothing else.

Overrides of the command line apply in all of them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lightning_gen.checkpoint import checkpoint_of, read_checkpoint, saved_config
from lightning_gen.config.containers import as_dict
from lightning_gen.config.saved import installed_hashes, leaves, read_saved_yaml, targets_in, trusting
from lightning_gen.errors import UserError

START_KEYS = ("run_dir", "resume", "init_from", "trust")  # of the new run, not of the one it starts from
# A stranger's file must not decide where a run writes, whom it tells, and which weights may be opened by their hash.
CONFIRMED_GROUPS = ("callbacks", "extractor", "logger", "metrics", "trainer")
CONFIRMED_KEYS = {"default_root_dir", "dir", "dirpath", "folder", "save_dir", "settings", "sha256"}


@dataclass
class Start:
    """The start of a run: its config, and a checkpoint if there is one."""

    config: DictConfig
    in_place: bool = False  # continue the run that is in the folder already
    state: Path | None = None  # a checkpoint to load completely: weights, optimizers, counters
    weights: Path | None = None  # a checkpoint to load the weights of


def start_of(config: DictConfig, overrides: Sequence[str] = ()) -> Start:
    """The start by `resume` and `init_from` of a composed config; `overrides` are those of the command line."""
    with trusting(targets_in(as_dict(config))):  # typed again, as by a requeued job
        return _start_of(config, overrides)


def _start_of(config: DictConfig, overrides: Sequence[str]) -> Start:
    if _requeued(config):
        return _continue(config, overrides)
    if config.resume and config.init_from:
        raise UserError(f"init_from={config.init_from}: can't be used with resume={config.resume}; use one of them")
    if config.init_from:
        path = checkpoint_of(config.init_from, key="init_from")
        model = saved_config(read_checkpoint(path, key="init_from"), f"init_from={path}", "model")
        return Start(_merged(config, {"model": model}, overrides), weights=path)
    if isinstance(config.resume, str):
        path = checkpoint_of(config.resume, key="resume")
        saved = saved_config(read_checkpoint(path, key="resume"), f"resume={path}")
        return Start(_confirmed(config, _merged(config, saved, overrides), f"resume={path}"), state=path)
    if config.resume:
        return _continue(config, overrides)
    return Start(config)


def _continue(config: DictConfig, overrides: Sequence[str]) -> Start:
    folder = Path(config.run_dir)
    if not folder.is_dir() or not (folder / "config.yaml").is_file():
        raise UserError(f"run_dir={folder}: no run to resume there; resume=true needs run_dir=PATH of a run's folder")
    saved = read_saved_yaml(folder / "config.yaml", f"run_dir={folder}")
    checkpoints = [folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt")]
    state = next((path for path in checkpoints if path.is_file()), None)  # none if it ended before its first one
    merged = _confirmed(config, _merged(config, saved, overrides), f"run_dir={folder}")
    return Start(merged, in_place=True, state=state)


def _requeued(config: DictConfig) -> bool:
    # Slurm counts the restarts of a job, and its run id, and so its folder, stays the same.
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 and (Path(config.run_dir) / "config.yaml").is_file()


def _merged(composed: DictConfig, saved: Mapping[Any, Any], overrides: Sequence[str]) -> DictConfig:
    """`composed` with the values of `saved`, except those that are overridden on the command line."""
    config = OmegaConf.create(as_dict(composed))
    for key, value in saved.items():
        if key not in START_KEYS:
            config[key] = _moved(value, saved.get("run_dir"), composed.run_dir)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        path = override.package or override.key_or_group.replace("/", ".")
        value = OmegaConf.select(composed, path)
        if value is not None or not override.is_delete():
            OmegaConf.update(config, path, value, force_add=True, merge=False)
    return config


def _confirmed(composed: DictConfig, config: DictConfig, origin: str) -> DictConfig:
    """`config`; UserError for a path outside of the run's folder, ..., that the command line doesn't name as well."""
    known = installed_hashes() | {None}
    plain = as_dict(config)
    for path, key, value in leaves({group: plain[group] for group in CONFIRMED_GROUPS if group in plain}):
        if key not in CONFIRMED_KEYS or _is_inside(value, config.run_dir) or OmegaConf.select(composed, path) == value:
            continue
        if isinstance(value, dict | list) or value not in known:
            raise UserError(f"{origin}: refused, it sets {path}={value}; add this to the command line to confirm it")
    return config


def _is_inside(path: Any, folder: str) -> bool:
    root = os.path.abspath(folder)
    return isinstance(path, str) and os.path.commonpath([root, os.path.abspath(path)]) == root


def _moved(value: Any, old: str | None, new: str) -> Any:
    """`value` with its paths in the folder `old` moved to the folder `new`, where this run writes its files."""
    if isinstance(value, dict):
        return {key: _moved(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if old and isinstance(value, str) and (value == old or value.startswith(old + "/")):
        return new + value[len(old) :]
    return value
