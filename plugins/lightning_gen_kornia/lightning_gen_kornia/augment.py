"""kornia's augmentations behind the contracts of `data/augment` and `model/augment`."""

from typing import Any

import torch
from kornia.augmentation import AugmentationBase2D, IntensityAugmentationBase2D
from torch import Tensor, nn

from lightning_gen.errors import UserError


class Kornia:
    """One of kornia's 2-D augmentations of training images `(B, C, H, W)` or `(B, T, C, H, W)` in [-1, 1].

    Uses torch's global generator, with the same transformation for all frames of a sequence. Geometric transformations
    apply to all channels, intensity transformations not to alpha. kornia gets values in [0, 1], so its zeros are black.
    """

    takes_bytes = False

    def __init__(self, transform: Any):
        self.transform = checked(transform, "data.augment")
        self.changes_intensity = isinstance(transform, IntensityAugmentationBase2D)

    def __call__(self, images: Tensor) -> Tensor:
        shape = images.shape
        values = (images + 1) / 2
        if self.changes_intensity:
            values = self._transform_colors(values if values.ndim == 5 else values[:, None])
        else:
            values = apply(self.transform, values.flatten(1, -3), "data.augment")  # frames as channels
        return (values.clamp(0, 1) * 2 - 1).view(shape)

    def _transform_colors(self, frames: Tensor) -> Tensor:
        """Frames `(B, T, C, H, W)`, all transformed like the first."""
        colors = 3 if frames.shape[2] == 4 else frames.shape[2]
        first = apply(self.transform, frames[:, 0, :colors], "data.augment")
        params = self.transform._params
        others = [self.transform(frame[:, :colors], params=params) for frame in frames.unbind(1)[1:]]
        return torch.cat([torch.stack([first, *others], 1), frames[:, :, colors:]], 2)


class KorniaPipeline(nn.Module):
    """kornia's augmentations of a discriminator's inputs, real and generated, in training mode only.

    Computed in float32; differentiable twice, as gradient penalties need.
    """

    draws_on_host = True  # so that `trainer.graphs` captures no steps

    def __init__(self, transforms: dict[str, Any]):
        super().__init__()
        chosen = {name: transform for name, transform in transforms.items() if transform}
        keys = {name: f"model.augment.transforms.{name}" for name in chosen}
        self.transforms = nn.ModuleDict({name: checked(transform, keys[name]) for name, transform in chosen.items()})

    def _apply(self, fn: Any, recurse: bool = True) -> "KorniaPipeline":
        # kornia's samplers stay on the CPU: it copies what they draw there, which is a wait for each in every step.
        super()._apply(fn, recurse)
        for transform in self.transforms.children():
            assert isinstance(transform, AugmentationBase2D)  # by `checked`
            transform.set_rng_device_and_dtype(torch.device("cpu"), torch.float32)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Augmented images `(B, C, H, W)`; values may leave [-1, 1]."""
        if not self.training:
            return images
        with torch.autocast(images.device.type, enabled=False):
            values = (images.float() + 1) / 2
            for name, transform in self.transforms.items():
                values = apply(transform, values, f"model.augment.transforms.{name}")
        return (values * 2 - 1).to(images.dtype)


def checked(transform: Any, key: str) -> AugmentationBase2D:
    """The transform; UserError unless it is a 2-D augmentation of kornia with one draw per image."""
    if not isinstance(transform, AugmentationBase2D):
        kind = type(transform).__name__
        raise UserError(
            f"{key}: {kind} is no 2-D augmentation of kornia; give one such as kornia.augmentation.RandomJPEG"
        )
    if transform.same_on_batch:
        raise UserError(f"{key}: same_on_batch=true would transform all images of a batch alike; leave it false")
    return transform


def apply(transform: nn.Module, images: Tensor, key: str) -> Tensor:
    """Transformed images; UserError for images that kornia rejects, such as gray ones for a color transformation."""
    try:
        return transform(images)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        name, shape = type(transform).__name__, "x".join(map(str, images.shape[1:]))
        raise UserError(f"{key}: kornia's {name} takes no images of {shape}: {reason}") from error
