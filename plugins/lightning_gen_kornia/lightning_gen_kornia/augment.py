"""kornia's augmentations behind the contracts of `data/augment` and `model/augment`."""

from typing import Any

import torch
from kornia.augmentation import AugmentationBase2D, IntensityAugmentationBase2D
from torch import Tensor, nn

from lightning_gen.errors import UserError


class Kornia:
    """One of kornia's 2-D augmentations of training images `(B, C, H, W)` or `(B, T, C, H, W)` in [-1, 1].

    Draws come from torch's global generator, one for all frames of a sequence. What moves pixels moves all channels;
    what changes their values leaves transparency alone. kornia sees intensities in [0, 1], where its zeros are black.
    """

    takes_bytes = False

    def __init__(self, transform: Any):
        self.transform = checked(transform, "data.augment")
        self.changes_values = isinstance(transform, IntensityAugmentationBase2D)

    def __call__(self, images: Tensor) -> Tensor:
        shape = images.shape
        values = (images + 1) / 2
        if self.changes_values:
            values = self._recolored(values if values.ndim == 5 else values[:, None])
        else:
            values = apply(self.transform, values.flatten(1, -3), "data.augment")  # frames as channels
        return (values.clamp(0, 1) * 2 - 1).view(shape)

    def _recolored(self, frames: Tensor) -> Tensor:
        """Frames `(B, T, C, H, W)`, all changed as the first is."""
        colors = 3 if frames.shape[2] == 4 else frames.shape[2]
        first = apply(self.transform, frames[:, 0, :colors], "data.augment")
        drawn = self.transform._params
        others = [self.transform(frame[:, :colors], params=drawn) for frame in frames.unbind(1)[1:]]
        return torch.cat([torch.stack([first, *others], 1), frames[:, :, colors:]], 2)


class KorniaPipeline(nn.Module):
    """kornia's augmentations of what a discriminator sees, real or made, in training mode only.

    Gradients go through them as often as a penalty asks for. They compute in float32.
    """

    def __init__(self, transforms: dict[str, Any]):
        super().__init__()
        found = {name: checked(each, f"model.augment.transforms.{name}") for name, each in transforms.items() if each}
        self.transforms = nn.ModuleDict(found)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` in [-1, 1]; colors may leave that range."""
        if not self.training:
            return images
        with torch.autocast(images.device.type, enabled=False):
            values = (images.float() + 1) / 2
            for name, transform in self.transforms.items():
                values = apply(transform, values, f"model.augment.transforms.{name}")
        return (values * 2 - 1).to(images.dtype)


def checked(transform: Any, key: str) -> AugmentationBase2D:
    """The augmentation; UserError if it is something else."""
    if not isinstance(transform, AugmentationBase2D):
        kind = type(transform).__name__
        raise UserError(
            f"{key}: {kind} is no augmentation of images of kornia's, such as kornia.augmentation.RandomJPEG"
        )
    if transform.same_on_batch:
        raise UserError(f"{key}: same_on_batch=true would give all images of a batch one draw; leave it false")
    return transform


def apply(transform: AugmentationBase2D, images: Tensor, key: str) -> Tensor:
    """Images, transformed; UserError for those it does not take, such as gray ones where it wants colors."""
    try:
        return transform(images)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        name, shape = type(transform).__name__, "x".join(map(str, images.shape[1:]))
        raise UserError(f"{key}: kornia's {name} takes no images of {shape}: {reason}") from error
