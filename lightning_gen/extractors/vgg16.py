"""VGG-16 trained on ImageNet, https://arxiv.org/abs/1409.1556, as in improved precision and recall."""

from typing import Any, Literal

import torch
from torchvision.models import VGG16_Weights, vgg16

from lightning_gen.errors import UserError
from lightning_gen.extractors.network_extractor import IMAGENET_MEAN, IMAGENET_STD, NetworkExtractor, name_with
from lightning_gen.extractors.resizing import ResizeMode
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file


class VGG16(NetworkExtractor):
    """4096 features of the second hidden layer, before (`fc2`) or after (`fc2_relu`) its ReLU, as in torch-fidelity.

    `weights` is torchvision's state dict, whose sha256 must begin with `sha256` (null: torch.hub's cache, else
    downloaded).
    """

    num_features = 4096

    def __init__(self, layer: Literal["fc2", "fc2_relu"], weights: str | None, sha256: str, resize: ResizeMode):
        path = weights_file(weights, VGG16_Weights.IMAGENET1K_V1.url, "extractor.vgg16.weights")
        actual_sha256 = check_hash(path, sha256, "extractor.vgg16.sha256")
        with torch.device("meta"):  # skips the random initialization of 138 million weights
            network = vgg16()
        try:
            network.load_state_dict(read_state_dict(path, "extractor.vgg16.weights"), assign=True)
        except RuntimeError:
            raise UserError(f"extractor.vgg16.weights={path}: holds the weights of another network") from None
        network.classifier = network.classifier[: 5 if layer == "fc2_relu" else 4]
        name = name_with("vgg16" if layer == "fc2_relu" else "vgg16_fc2", resize)
        network = network.to(memory_format=torch.channels_last)
        super().__init__(
            name, network, sha256=actual_sha256, size=224, resize=resize, mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
        self.layer = layer

    def protocol(self) -> dict[str, Any]:
        """Weights, layer and preprocessing."""
        return super().protocol() | {"layer": self.layer}
