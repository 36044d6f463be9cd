"""The four ways to start a run, as a config and a checkpoint.

- new: `resume` and `init_from` are null.
- continue: `run_dir=PATH resume=true` goes on with the run in that folder, under its own config.
- hotstart: `resume=CHECKPOINT` takes that run's config and whole state into a new folder.
- finetune: `init_from=CHECKPOINT` takes its model config and weights, nothing else.

In each, what the command line overrides is overridden.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lightning_gen.checkpoint import checkpoint_of, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY

OWN_KEYS = ("run_dir", "resume", "init_from")


@dataclass
class Start:
    """How a run starts: its config, whether its folder must hold a run already, what state or weights to load."""

    config: DictConfig
    in_place: bool = False
    state: Path | None = None
    weights: Path | None = None


def start_of(config: DictConfig, overrides: Sequence[str] = ()) -> Start:
    """Read `resume` and `init_from` of a composed config; `overrides` are those of the command line."""
    if _requeued(config):
        return _continue(config, overrides)
    if config.resume and config.init_from:
        raise UserError(f"init_from={config.init_from}: can't be used with resume={config.resume}; use one of them")
    if config.init_from:
        path = checkpoint_of(config.init_from, key="init_from")
        saved = OmegaConf.create({"model": read_checkpoint(path, key="init_from")[KEY]["config"]["model"]})
        return Start(_merged(config, saved, overrides), weights=path)
    if isinstance(config.resume, str):
        path = checkpoint_of(config.resume, key="resume")
        saved = OmegaConf.create(read_checkpoint(path, key="resume")[KEY]["config"])
        return Start(_merged(config, saved, overrides), state=path)
    if config.resume:
        return _continue(config, overrides)
    return Start(config)


def _continue(config: DictConfig, overrides: Sequence[str]) -> Start:
    folder = Path(config.run_dir)
    if not folder.is_dir() or not (folder / "config.yaml").is_file():
        raise UserError(f"run_dir={folder}: no run to resume there; resume=true needs run_dir=PATH of a run's folder")
    saved = OmegaConf.load(folder / "config.yaml")
    kept = [folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt")]
    state = next((path for path in kept if path.is_file()), None)  # none if it ended before its first checkpoint
    return Start(_merged(config, saved, overrides), in_place=True, state=state)


def _requeued(config: DictConfig) -> bool:
    # Slurm counts restarts of the same job, whose folder has the same name.
    return int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 and (Path(config.run_dir) / "config.yaml").is_file()


def _merged(composed: DictConfig, saved: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """`composed` with the values of `saved`, but for what was overridden on the command line."""
    config = OmegaConf.create(OmegaConf.to_container(composed, resolve=True))
    before = saved.get("run_dir")
    for key in saved:
        if key not in OWN_KEYS:
            config[key] = _moved(OmegaConf.to_container(saved, resolve=True)[key], before, composed.run_dir)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        path = override.package or override.key_or_group.replace("/", ".")
        value = OmegaConf.select(composed, path)
        if value is not None or not override.is_delete():
            OmegaConf.update(config, path, value, force_add=True, merge=False)
    return config


def _moved(value: Any, before: str | None, now: str) -> Any:
    """`value` with paths in the folder `before` pointing into `now`: the files of a new, or moved, run are its own."""
    if isinstance(value, dict):
        return {key: _moved(item, before, now) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, before, now) for item in value]
    if before and isinstance(value, str) and (value == before or value.startswith(before + "/")):
        return now + value[len(before) :]
    return value
