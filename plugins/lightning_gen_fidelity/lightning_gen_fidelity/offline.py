"""lightning-gen's offline extractor for torch-fidelity: its mathematics can be checked where nothing is downloaded."""

from typing import Any

from torch import Tensor
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0

NAME = "lightning-gen-efficientnet-lite0"


class OfflineExtractor(FeatureExtractorBase):
    """EfficientNet-Lite0 as it is by default, of uint8 RGB images."""

    def __init__(self, name: str, features_list: list[str], **settings: Any):
        super().__init__(name, features_list)
        self.extractor = EfficientNetLite0()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """What was asked for."""
        pooled = self.extractor(images)
        found = {"pooled": pooled, "logits": self.extractor.logits(pooled)}
        return tuple(found[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """All there are."""
        return "pooled", "logits"

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """Classes for the Inception Score."""
        return "logits" if metric == "isc" else "pooled"

    @staticmethod
    def can_be_compiled() -> bool:
        """It need not be."""
        return False


if NAME not in FEATURE_EXTRACTORS_REGISTRY:  # a second time it would raise
    register_feature_extractor(NAME, OfflineExtractor)
