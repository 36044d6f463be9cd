"""What a run tells of itself: at its beginning what it is, at its end where its files are and what can be done next."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig

from lightning_gen.capabilities import Classifies, Completes, Predicts
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.report.commands import commands_of
from lightning_gen.trainer import ImageTrainer
from lightning_gen.training.checks import device_notes, likelihood_notes
from lightning_gen.training.resume import Start
from lightning_gen.training.summary import summary_lines

log = logging.getLogger("lightning_gen")

LEFT_OUT = ("Compare with another run", "Repeat", "Renew this page")  # of the commands in a report


def describe(model: ImageGenerator, data: ImageData, trainer: ImageTrainer, config: DictConfig) -> None:
    """Log the sizes of model and data, the device and the run folder."""
    if not trainer.is_global_zero:
        return
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    splits = " / ".join(f"{count:,}" for count in data.split_sizes.values())
    shape = "x".join(map(str, data.image_shape))
    name = f"{type(model).__name__} ({model.size})" if model.size else type(model).__name__
    log.info("%s: %s parameters; %s: %s images of %s", name, f"{trained:,}", data.name, splits, shape)
    where = f"{config.trainer.get('accelerator', 'auto')} x {trainer.world_size}, {trainer.precision}"
    log.info("%s; run folder: %s", where, config.run_dir)


def tell(
    notes: Sequence[str], model: ImageGenerator, data: ImageData, trainer: ImageTrainer, config: DictConfig
) -> None:
    """Log what a user should know of this run, before it begins."""
    of_data = [f"data={data.name}: {note}" for note in data.notes]
    of_device = device_notes(trainer.strategy.root_device, trainer.precision)
    layers = summary_lines(model, data) if config.get("summary") else []
    for note in [*of_data, *notes, *likelihood_notes(model, data), *of_device, *layers]:
        log.info("%s", note)


def origin(start: Start, seen: int, max_images: int | None, run_dir: str) -> str | None:
    """A line on what a run starts from, and how far that is; None for a new run."""
    if start.weights:
        return f"starts with the weights of {start.weights}"
    if start.state is None:
        return f"continues {run_dir} from its beginning, as it has no checkpoint" if start.in_place else None
    saved = datetime.fromtimestamp(start.state.stat().st_mtime)
    when = f"{saved:%H:%M}" if saved.date() == datetime.now().date() else f"{saved:%Y-%m-%d %H:%M}"
    of = f" of {max_images:,}" if max_images else ""
    what = run_dir if start.in_place else f"{start.state}, in a new folder,"
    return f"continues {what} at {seen:,}{of} images, {start.state.name} of {when}"


def closing_lines(model: ImageGenerator, run_dir: str, max_images: int | None) -> Iterator[str]:
    """The run folder, then a command a line."""
    yield f"run folder: {run_dir}"
    commands = commands_of(Path(run_dir), model.images_seen, max_images, _pictures(model))
    shown = {title: command for title, command in commands.items() if title not in LEFT_OUT}
    width = max(map(len, shown))
    for title, command in shown.items():
        yield f"  {title.lower():<{width}}  {command}"


def _pictures(model: ImageGenerator) -> list[str]:
    """The series of pictures that such a model draws."""
    kinds = {"predictions": Predicts, "completions": Completes, "wrongly_classified": Classifies}
    return ["samples"] * model.generates + [name for name, kind in kinds.items() if isinstance(model, kind)]
