"""What the commands that start from a checkpoint share."""

from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint
from lightning_gen.config.composition import check
from lightning_gen.config.instantiation import build_data
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY
from lightning_gen.images import MODES
from lightning_gen.sampling.scatter_plot import are_points
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


def load(cfg: DictConfig) -> tuple[Path, "ImageGenerator"]:
    """The file that `checkpoint` means and the model in it, on `device`; averaged weights if `ema`.

    Single `+model.key=value` change what it was made with.
    """
    if not cfg.checkpoint:
        raise UserError("checkpoint=null: give a checkpoint file or a run's folder, as checkpoint=outputs/my_run")
    device = choose_device(cfg.device)
    path = checkpoint_of(Path(cfg.checkpoint).expanduser())
    return path, load_model(path, ema=cfg.ema, device=device, changes=OmegaConf.to_container(cfg.model))


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint file belongs to; for a file kept elsewhere, the folder it lies in."""
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is an accelerator if there is one. UserError if it is not there."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        fix = did_you_mean(name, ["auto", "cpu", "cuda", "mps"]) or ", give auto, cpu or cuda"
        raise UserError(f"device={name}: no such device{fix}") from None
    there = accelerator is not None and device.type == accelerator.type
    if device.type != "cpu" and not (there and (device.index or 0) < torch.accelerator.device_count()):
        raise UserError(f"device={name}: not on this machine, give device={accelerator or 'cpu'} or device=auto")
    if device.index is not None and device.type != "cpu":
        torch.accelerator.set_device_index(device.index)  # the generators that are seeded are the current device's
    return device


def check_at_least(cfg: DictConfig, **least: int) -> None:
    """UserError unless each key, where it is not null, has its least value or more."""
    for key, value in least.items():
        if cfg[key] is not None and cfg[key] < value:
            raise UserError(f"{key}={cfg[key]}: give at least {value}")


def check_pictures(model: "ImageGenerator", checkpoint: Path, sequences: bool = False) -> None:
    """UserError unless the model generates, and what image files hold; single images, or also `sequences`."""
    if not getattr(model, "generates", True):
        raise UserError(f"checkpoint={checkpoint}: {type(model).__name__} generates no images")
    channels = model.image_shape[-3]
    if channels not in MODES:
        raise UserError(f"checkpoint={checkpoint}: image files have 1, 3 or 4 channels, this model {channels}")
    if len(model.image_shape) == 4 and not sequences:
        raise UserError(f"checkpoint={checkpoint}: {type(model).__name__} makes sequences; this is for single images")
    if are_points(model.image_shape):
        raise UserError(
            f"checkpoint={checkpoint}: its images of {'x'.join(map(str, model.image_shape))} are points, no pictures; "
            "callbacks=[sample_grid] plots them in training"
        )


def chosen_labels(label: int | list[int] | None, num_classes: int | None) -> list[int] | None:
    """The classes to draw: those given, else all; None for an unconditional model. UserError for one there is not."""
    if num_classes is None:
        if label is not None:
            raise UserError(f"label={label}: this model is unconditional, leave out label")
        return None
    if label is None:
        return list(range(num_classes))
    return list(dict.fromkeys(labels_in(label, num_classes)))


def labels_in(label: int | list[int], num_classes: int) -> list[int]:
    """One label or several as a list; UserError if there are none, or one that is no class."""
    labels = list(label) if isinstance(label, list | ListConfig) else [label]
    for each in labels:
        if not (isinstance(each, int) and 0 <= each < num_classes):
            raise UserError(f"label={each}: this model has the classes 0 to {num_classes - 1}")
    if not labels:
        raise UserError("label=[]: name at least one class")
    return labels


def spread(classes: list[int] | None, n: int) -> Tensor | None:
    """`n` labels, class by class, in shares that differ by one at most; with fewer than classes, the first `n`."""
    if classes is None:
        return None
    count = min(n, len(classes))
    return torch.tensor(classes[:count])[torch.arange(n) * count // n]


def data_of(cfg: DictConfig, checkpoint: Path, model: "ImageGenerator") -> "ImageData":
    """The chosen data, or those of the checkpoint; UserError if their images are of another shape than the model's."""
    data = build_data(data_config(cfg, checkpoint))
    data.check_shape(model.image_shape)
    return data


def data_config(cfg: DictConfig, checkpoint: Path) -> DictConfig:
    """The chosen data, or those of the checkpoint; single `+data.key=value` change the latter."""
    chosen = cfg.get("data") or {}
    if "_target_" in chosen:
        return chosen
    config = OmegaConf.merge(read_checkpoint(checkpoint)[KEY]["config"]["data"], chosen)
    check({"data": OmegaConf.to_container(config)})
    return config


def output_folder(out: str | None, checkpoint: Path) -> Path:
    """The folder `out`, made where it is not there; null: one in the run's folder. UserError if it is not empty."""
    if out is None:
        base = run_folder(checkpoint) / "generated" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        # Two commands may start within a second.
        names = (base.with_name(f"{base.name}-{number}") for number in count(2))
        folder = base if not base.exists() else next(name for name in names if not name.exists())
    else:
        folder = Path(out).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"out={folder}: is there already and not an empty folder, name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={folder}: {error.strerror}; name a folder that can be written") from None
    return folder


def print_written(what: str, out: Path) -> None:
    """Say what was written and where."""
    written = sorted(file.name + "/" * file.is_dir() for file in out.iterdir())
    print(f"{what} written to {out} ({', '.join(written)})")


def first_images(cfg: DictConfig, path: Path, model: "ImageGenerator") -> Batch:
    """The first `n` of a split of the data."""
    data = data_of(cfg, path, model)
    batches = list(data.batches(cfg.split, model.device, limit=cfg.n))
    labels = None if batches[0].labels is None else torch.cat([batch.labels for batch in batches])
    return Batch(torch.cat([batch.images for batch in batches]), labels)
