"""Base of extractors with one network, between resizing with normalization and pooling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import ResizeMode, resize

# Of ImageNet's colors in [0, 1], as in torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class NetworkExtractor(Extractor):
    """Features of `network` on images of `size` x `size` pixels, normalized by `mean` and `std` of values in [0, 1].

    The length of `mean` is the number of input channels. Feature maps `(B, d, H, W)` are averaged over positions, other
    outputs are flattened.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        sha256: str,
        size: PositiveInt,
        resize: ResizeMode,
        mean: Sequence[float],
        std: Sequence[float],
    ):
        super().__init__()
        self.name = name
        self.network = network
        self.sha256 = sha256
        self.size = size
        self.resize = resize
        self.channels = len(mean)
        self.mean, self.std = list(mean), list(std)
        for key, values in {"shift": mean, "scale": std}.items():
            self.register_buffer(key, 255 * torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """The network's outputs, pooled."""
        outputs = self.network((resize(images, self.size, self.resize) - self.shift) / self.scale)
        return outputs.mean((2, 3)) if outputs.ndim == 4 else outputs.flatten(1)

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return self._protocol(self.size, f"(x / 255 - {self.mean}) / {self.std}")


def name_with(name: str, resize: ResizeMode) -> str:
    """An extractor's name, with the resize mode; `tf` (torch-fidelity's) is the default and left out."""
    return name if resize == "tf" else f"{name}_{resize}"
