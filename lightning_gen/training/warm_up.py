"""Warm-ups of learning rates that would fill a short run: of a few thousand images, nothing would be learned."""

from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_gen.config.containers import as_dict

KEY = "warmup_images"
SHARE = 0.2  # of the images of a run that a warm-up may take
LEAST = 1_000  # images; what is shorter is to show that all works, not to learn


def shorten_warm_ups(config: DictConfig, overrides: Sequence[str], images_per_epoch: int) -> list[str]:
    """Shorten each `warmup_images` of a new run's model to `SHARE` of the run, in place; lines about what was longer.

    One that is among the overrides of the command line stays as it is.
    """
    epochs, images = config.trainer.get("max_epochs"), config.trainer.get("max_images")
    total = epochs * images_per_epoch if epochs else images
    if not total or total < LEAST:
        return []
    most, lines = int(SHARE * total), []
    for path, value in _warm_ups(as_dict(config.model), "model"):
        if value > most and not _is_typed(path, overrides):
            OmegaConf.update(config, path, most)
            told = f"{path} is shortened to {most:,}, {SHARE:.0%} of this run"
            lines.append(f"{told}; to keep it, add {path}={value}")
    return lines


def _warm_ups(config: Any, path: str) -> Iterator[tuple[str, int]]:
    """Path and value of each `warmup_images` in a config."""
    if isinstance(config, dict):
        for key, value in config.items():
            if key == KEY:
                yield f"{path}.{key}", value
            else:
                yield from _warm_ups(value, f"{path}.{key}")


def _is_typed(path: str, overrides: Sequence[str]) -> bool:
    """Whether an override gives the value at `path`, alone or within a mapping."""
    typed = (override.lstrip("+").partition("=") for override in overrides)
    return any(path == key or (path.startswith(f"{key}.") and KEY in value) for key, _, value in typed)
