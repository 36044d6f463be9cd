"""lightning-gen's offline extractor for torch-fidelity: to check its scores without downloads."""

from typing import Any

from torch import Tensor
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0

NAME = "lightning-gen-efficientnet-lite0"


class OfflineExtractor(FeatureExtractorBase):
    """EfficientNet-Lite0 with default settings, on uint8 RGB images."""

    def __init__(self, name: str, features_list: list[str], **settings: Any):
        super().__init__(name, features_list)
        self.extractor = EfficientNetLite0()

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """The requested features of images `(B, 3, H, W)`."""
        pooled = self.extractor(input)
        features = {"pooled": pooled, "logits": self.extractor.logits(pooled)}
        return tuple(features[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The names of the features."""
        return "pooled", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """Logits for the Inception Score, else pooled features."""
        return "logits" if metric == "isc" else "pooled"

    @staticmethod
    def can_be_compiled() -> bool:
        """Compilation is not supported."""
        return False


if NAME not in FEATURE_EXTRACTORS_REGISTRY:  # registering twice raises
    register_feature_extractor(NAME, OfflineExtractor)
