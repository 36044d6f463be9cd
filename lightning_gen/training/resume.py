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

from lightning_gen.checkpoint import checkpoint_of, read_checkpoint
from lightning_gen.config.containers import as_dict
from lightning_gen.config.validation import saved_config
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY

START_KEYS = ("run_dir", "resume", "init_from")  # of the new run, not of the one it starts from


@dataclass
class Start:
    """The start of a run: its config, and a checkpoint if there is one."""

    config: DictConfig
    in_place: bool = False  # continue the run that is in the folder already
    state: Path | None = None  # a checkpoint to load completely: weights, optimizers, counters
    weights: Path | None = None  # a checkpoint to load the weights of


def start_of(config: DictConfig, overrides: Sequence[str] = ()) -> Start:
    """The start by `resume` and `init_from` of a composed config; `overrides` are those of the command line."""
    if _requeued(config):
        return _continue(config, overrides)
    if config.resume and config.init_from:
        raise UserError(f"init_from={config.init_from}: can't be used with resume={config.resume}; use one of them")
    if config.init_from:
        path = checkpoint_of(config.init_from, key="init_from")
        saved = read_checkpoint(path, key="init_from")[KEY]["config"]
        return Start(_merged(config, {"model": saved["model"]}, overrides), weights=path)
    if isinstance(config.resume, str):
        path = checkpoint_of(config.resume, key="resume")
        return Start(_merged(config, read_checkpoint(path, key="resume")[KEY]["config"], overrides), state=path)
    if config.resume:
        return _continue(config, overrides)
    return Start(config)


def _continue(config: DictConfig, overrides: Sequence[str]) -> Start:
    folder = Path(config.run_dir)
    if not folder.is_dir() or not (folder / "config.yaml").is_file():
        raise UserError(f"run_dir={folder}: no run to resume there; resume=true needs run_dir=PATH of a run's folder")
    saved = saved_config(folder / "config.yaml", f"run_dir={folder}")
    checkpoints = [folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt")]
    state = next((path for path in checkpoints if path.is_file()), None)  # none if it ended before its first one
    return Start(_merged(config, saved, overrides), in_place=True, state=state)


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


def _moved(value: Any, old: str | None, new: str) -> Any:
    """`value` with its paths in the folder `old` moved to the folder `new`, where this run writes its files."""
    if isinstance(value, dict):
        return {key: _moved(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if old and isinstance(value, str) and (value == old or value.startswith(old + "/")):
        return new + value[len(old) :]
    return value
