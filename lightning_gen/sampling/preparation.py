"""What is checked before a trained model is used: the device, its weights, and that its images are pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from lightning_gen.capabilities import HasCodes
from lightning_gen.errors import UserError
from lightning_gen.images import MODES
from lightning_gen.optim.sharding import is_sharded, local
from lightning_gen.sampling.scatter_plot import are_points
from lightning_gen.utilities.ranks import mean_over_ranks
from lightning_gen.utilities.suggestions import did_you_mean

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is an accelerator if there is one. UserError for a missing device."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        fix = did_you_mean(name, ["auto", "cpu", "cuda", "mps"]) or ", give auto, cpu or cuda"
        raise UserError(f"device={name}: no such device{fix}") from None
    if device.type == "cpu":
        return device
    same_type = accelerator is not None and device.type == accelerator.type
    if not (same_type and (device.index or 0) < torch.accelerator.device_count()):
        raise UserError(f"device={name}: not on this machine, give device={accelerator or 'cpu'} or device=auto")
    if device.index is not None:
        torch.accelerator.set_device_index(device.index)  # seeds go to the generator of the current device
    return device


def check_pictures(model: "ImageGenerator", checkpoint: Path, sequences: bool = False) -> None:
    """UserError unless the model generates images that can be written to files; `sequences` are allowed or not."""
    if not model.generates:
        prior = f"; a prior of its codes does: lightning-gen train model=code_prior codes={checkpoint}"
        fix = prior if isinstance(model, HasCodes) else ""
        raise UserError(f"checkpoint={checkpoint}: {type(model).__name__} generates no images{fix}")
    channels = model.image_shape[-3]
    if channels not in MODES:
        raise UserError(f"checkpoint={checkpoint}: image files have 1, 3 or 4 channels, this model {channels}")
    if len(model.image_shape) == 4 and not sequences:
        raise UserError(f"checkpoint={checkpoint}: {type(model).__name__} makes sequences; this is for single images")
    if are_points(model.image_shape):
        raise UserError(
            f"checkpoint={checkpoint}: its images of {'x'.join(map(str, model.image_shape))} are points, not pictures; "
            "callbacks=[sample_grid] plots them in training"
        )


def all_finite(model: nn.Module) -> bool:
    """Whether every weight and buffer is finite, on all ranks of a sharded model; one device synchronization."""
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    finite = torch.stack([local(t).isfinite().all() for t in tensors]).all()
    return bool(mean_over_ranks(finite.float()) == 1 if any(map(is_sharded, tensors)) else finite)


def check_weights(model: nn.Module, checkpoint: Path) -> None:
    """UserError for a model that has diverged: weights that are NaN or infinite."""
    if not all_finite(model):
        raise UserError(
            f"checkpoint={checkpoint}: weights of this model are NaN or infinite, its training diverged; "
            "use another checkpoint"
        )
