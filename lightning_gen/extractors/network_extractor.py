"""What extractors have in common that are one network between a resize with a normalization and a pooling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import Protocol, resize

# Of ImageNet's colors, as torchvision's classifiers have them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class NetworkExtractor(Extractor):
    """Features of `network`, fed images of `size` x `size` pixels less `mean` over `std`, both of values in [0, 1].

    As many values as `mean` has are the channels it takes. Maps `(B, d, H, W)` are averaged over their places,
    everything else is flattened.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        sha256: str,
        size: PositiveInt,
        resize: Protocol,
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
        """What the network makes of them."""
        found = self.network((resize(images, self.size, self.resize) - self.shift) / self.scale)
        return found.mean((2, 3)) if found.ndim == 4 else found.flatten(1)

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return self.stated(f"(x / 255 - {self.mean}) / {self.std}")


def named(name: str, resize: Protocol) -> str:
    """A name that tells apart what only differs in the resize; `tf`, torch-fidelity's, goes without saying."""
    return name if resize == "tf" else f"{name}_{resize}"
