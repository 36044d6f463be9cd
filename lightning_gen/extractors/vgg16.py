"""VGG-16 trained on ImageNet, https://arxiv.org/abs/1409.1556: what improved precision and recall use."""

from typing import Any, Literal

import torch
from torchvision.models import VGG16_Weights, vgg16

from lightning_gen.errors import UserError
from lightning_gen.extractors.network_extractor import IMAGENET_MEAN, IMAGENET_STD, NetworkExtractor, named
from lightning_gen.extractors.resizing import Protocol
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file


class VGG16(NetworkExtractor):
    """4096 values of the second hidden layer, before (`fc2`) or after (`fc2_relu`) its ReLU, as torch-fidelity's.

    `weights` is torchvision's state dict, whose sha256 must begin with `sha256` (null: torch.hub's cache, else
    downloaded).
    """

    num_features = 4096

    def __init__(self, layer: Literal["fc2", "fc2_relu"], weights: str | None, sha256: str, resize: Protocol):
        path = weights_file(weights, VGG16_Weights.IMAGENET1K_V1.url, "extractor.vgg16.weights")
        found = check_hash(path, sha256, "extractor.vgg16.sha256")
        with torch.device("meta"):  # 138 million weights need not be drawn to be replaced
            network = vgg16()
        try:
            network.load_state_dict(read_state_dict(path, "extractor.vgg16.weights"), assign=True)
        except RuntimeError:
            raise UserError(f"extractor.vgg16.weights={path}: holds the weights of another network") from None
        network.classifier = network.classifier[: 5 if layer == "fc2_relu" else 4]
        name = named("vgg16" if layer == "fc2_relu" else "vgg16_fc2", resize)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(name, network, sha256=found, size=224, resize=resize, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        self.layer = layer

    def protocol(self) -> dict[str, Any]:
        """Weights, layer and preprocessing."""
        return super().protocol() | {"layer": self.layer}
