"""Learned perceptual image patch similarity (LPIPS 0.1) of reconstructions, https://arxiv.org/abs/1801.03924."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Reconstructs
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import as_channels
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file
from lightning_gen.images import over_white
from lightning_gen.metrics.image_means import ImageMeans

# torchvision's name of the weights, and the minimum image size in pixels
NETWORKS = {"alex": ("AlexNet_Weights", 31), "vgg": ("VGG16_Weights", 16), "squeeze": ("SqueezeNet1_1_Weights", 17)}
KEY = "metrics.lpips"


class LPIPS(ImageMeans):
    """Mean LPIPS between images and their reconstructions, with `net` as backbone and torchmetrics' linear weights.

    `weights` is the file of torchvision's ImageNet weights of the backbone (null: torch.hub's cache, else downloaded);
    its sha256 must begin with `sha256` (null: the published one). Gray images are repeated three times.
    """

    needs = "reconstruct"
    better = {"reconstruction_lpips": "lower"}

    lpips: Tensor

    def __init__(
        self,
        net: Literal["alex", "vgg", "squeeze"] = "alex",
        weights: str | None = None,
        sha256: str | None = None,
    ):
        super().__init__("lpips")
        import torchvision
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        weights_name, self.min_size = NETWORKS[net]
        self.net = net
        url = torchvision.models.get_weight(f"{weights_name}.IMAGENET1K_V1").url
        path = weights_file(weights, url, f"{KEY}.weights")
        # torchvision's file names end in the first digits of their hash
        expected = url.rpartition("-")[2].removesuffix(".pth") if sha256 is None else sha256
        self.sha256 = check_hash(path, expected, f"{KEY}.sha256")
        state = read_state_dict(path, f"{KEY}.weights")
        # Random weights, all replaced below: torchmetrics would download the backbone.
        self.network = _NoTrainLpips(net=net, pnet_rand=True)
        tensors = self.network.net.state_dict()
        # The backbone is cut into slices, whose modules keep their numbers in torchvision's `features`.
        sources = {name: "features." + name.removeprefix("slices.").partition(".")[2] for name in tensors}
        loaded = {name: state.get(source) for name, source in sources.items()}
        if any(value is None or value.shape != tensors[name].shape for name, value in loaded.items()):
            raise UserError(f"{KEY}.weights={path}: holds the weights of another network than net={net}")
        self.network.net.load_state_dict(loaded)

    def why_not(self, model: Any, data: Any) -> str | None:
        """The network's poolings need a minimum image size."""
        height, width = data.image_shape[-2:]
        if min(height, width) < self.min_size:
            return f"net={self.net} takes images from {self.min_size} pixels a side, not {height}x{width}"
        return None

    def update_from(self, model: Reconstructs, batch: Batch) -> None:
        """Reconstruct a batch."""
        self.update(model.reconstruct(batch.images, batch.labels), batch.images)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add reconstructions and their targets, `(B, C, H, W)` in [-1, 1]."""
        both = [over_white(images.to(self.lpips.device).float().clamp(-1, 1)) for images in (prediction, target)]
        pair = [as_channels(images, 3) for images in both]  # gray is repeated
        with torch.no_grad():
            self.accumulate("lpips", self.network(*pair).flatten())

    def compute(self) -> dict[str, Tensor]:
        """The mean; NaN without images."""
        return {"reconstruction_lpips": self.means()["lpips"]}

    def standard_errors(self) -> dict[str, float]:
        """Standard error of the mean over images."""
        return {f"reconstruction_{kind}": error for kind, error in self.errors.items()}

    def protocol(self) -> dict[str, Any]:
        """The network and its weights."""
        return {"net": self.net, "weights_sha256": self.sha256}
