"""Inception v3 of published Fréchet and kernel Inception distances, https://arxiv.org/abs/1706.08500.

The network and its weights are torch-fidelity's port of TensorFlow's 2015 graph.
"""

from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_gen.errors import UserError, missing_package
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import ResizeMode, resize
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file

PUBLISHED = "6726825d"  # first digits of the sha256 of the weights in use since 2015


class Inception(Extractor):
    """2048 pooled features, and the 1008 logits without bias for the Inception Score.

    `weights` is a state dict's file (null: torch.hub's cache, else downloaded) whose sha256 must begin with `sha256`.
    Only the published weights with `resize="tf"` give a score named FID.

    Batch normalization is folded into the convolutions, in channels-last memory format: 1.5 times as fast as the
    original network, and equal up to rounding.
    """

    num_features = 2048
    size = 299
    head: nn.Linear

    def __init__(self, weights: str | None, sha256: str, resize: ResizeMode):
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError:
            other = "extractor=efficientnet_lite0"
            raise missing_package("extractor=inception", "torch-fidelity", "fidelity", other) from None
        path = weights_file(weights, URL_INCEPTION_V3, "extractor.inception.weights")
        self.sha256 = check_hash(path, sha256, "extractor.inception.sha256")
        # torch-fidelity unpickles its file unsafely: it gets the tensors from a safe reader.
        file = BytesIO()
        torch.save(read_state_dict(path, "extractor.inception.weights"), file)
        file.seek(0)
        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=file)
        except RuntimeError:
            raise UserError(f"extractor.inception.weights={path}: holds the weights of another network") from None
        self.head = network.fc
        *trunk, _ = network.children()  # the last is `fc`
        self.trunk = nn.Sequential(*trunk)
        for block in self.trunk.modules():
            conv, norm = getattr(block, "conv", None), getattr(block, "bn", None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                block.conv, block.bn = fuse_conv_bn_eval(conv, norm), nn.Identity()
        self.trunk.to(memory_format=torch.channels_last)
        self.resize = resize
        self.name = "inception" if resize == "tf" else f"inception_{resize}"
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """The values of the last pooling."""
        inputs = (resize(images, self.size, self.resize) - 128) / 128
        return self.trunk(inputs.contiguous(memory_format=torch.channels_last)).flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        """Logits without bias, as in published Inception Scores."""
        return features @ self.head.weight.T

    def score_name(self, score: str) -> str:
        """`fid` for the Fréchet distance with published weights and resizing."""
        published = self.resize == "tf" and self.sha256.startswith(PUBLISHED)
        return "fid" if score == "frechet" and published else super().score_name(score)

    def protocol(self) -> dict[str, Any]:
        """Weights and preprocessing."""
        return self._protocol(self.size, "(x - 128) / 128")
