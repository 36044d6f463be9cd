"""What the commands that start from a checkpoint share."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig

from lightning_gen.checkpoint import checkpoint_of, load_model
from lightning_gen.errors import UserError
from lightning_gen.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


def load(cfg: DictConfig) -> tuple[Path, "ImageGenerator"]:
    """The file that `checkpoint` means and the model in it, on `device`; averaged weights if `ema`."""
    if not cfg.checkpoint:
        raise UserError("checkpoint=null: give a checkpoint file or a run's folder, as checkpoint=outputs/my_run")
    device = choose_device(cfg.device)
    path = checkpoint_of(Path(cfg.checkpoint).expanduser())
    return path, load_model(path, ema=cfg.ema, device=device)


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
        mend = did_you_mean(name, ["auto", "cpu", "cuda", "mps"]) or ", give auto, cpu or cuda"
        raise UserError(f"device={name}: no such device{mend}") from None
    there = accelerator is not None and device.type == accelerator.type
    if device.type != "cpu" and not (there and (device.index or 0) < torch.accelerator.device_count()):
        raise UserError(f"device={name}: not on this machine, give device={accelerator or 'cpu'} or device=auto")
    if device.index is not None and device.type != "cpu":
        torch.accelerator.set_device_index(device.index)  # the generators that are seeded are the current device's
    return device
