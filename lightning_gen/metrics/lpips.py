"""Learned perceptual distance of reconstructions, https://arxiv.org/abs/1801.03924 (LPIPS 0.1)."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import as_channels
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file
from lightning_gen.metrics.image_means import ImageMeans

# torchvision's name of each network's weights, and the fewest pixels a side that it takes
NETWORKS = {"alex": ("AlexNet_Weights", 31), "vgg": ("VGG16_Weights", 16), "squeeze": ("SqueezeNet1_1_Weights", 17)}
KEY = "metrics.lpips"


class LPIPS(ImageMeans):
    """The mean distance of images from their reconstructions, in features of `net` as torchmetrics weighs them.

    `weights` is the file of torchvision's ImageNet weights of that network (null: torch.hub's cache, else downloaded),
    whose sha256 must begin with `sha256` (null: as that file's does). Gray images are repeated three times.
    """

    needs = "reconstruct"
    better = {"reconstruction_lpips": "lower"}

    def __init__(
        self,
        net: Literal["alex", "vgg", "squeeze"] = "alex",
        weights: str | None = None,
        sha256: str | None = None,
    ):
        super().__init__("lpips")
        import torchvision
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        known, self.smallest = NETWORKS[net]
        self.net = net
        url = torchvision.models.get_weight(f"{known}.IMAGENET1K_V1").url
        path = weights_file(weights, url, f"{KEY}.weights")
        # files are named after how their hash begins
        expected = url.rpartition("-")[2].removesuffix(".pth") if sha256 is None else sha256
        self.sha256 = check_hash(path, expected, f"{KEY}.sha256")
        state = read_state_dict(path, f"{KEY}.weights")
        # torchmetrics would download the backbone: here it gets random weights first, which all are replaced
        self.network = _NoTrainLpips(net=net, pnet_rand=True)
        tensors = self.network.net.state_dict()
        # the backbone cut into slices: modules keep the numbers that they have in torchvision's `features`
        names = {name: "features." + name.removeprefix("slices.").partition(".")[2] for name in tensors}
        found = {name: state.get(theirs) for name, theirs in names.items()}
        if any(value is None or value.shape != tensors[name].shape for name, value in found.items()):
            raise UserError(f"{KEY}.weights={path}: holds the weights of another network than net={net}")
        self.network.net.load_state_dict(found)

    def why_not(self, model: Any, data: Any) -> str | None:
        """Small images vanish in the network's poolings."""
        height, width = data.image_shape[-2:]
        if min(height, width) < self.smallest:
            return f"net={self.net} takes images from {self.smallest} pixels a side, not {height}x{width}"
        return None

    def observe(self, model: Any, batch: Batch) -> None:
        """Reconstruct a batch."""
        self.update(model.reconstruct(batch.images, batch.labels), batch.images)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in reconstructions and what they are of, `(B, C, H, W)` in [-1, 1]."""
        pair = [as_channels(images.to(self.lpips.device).float().clamp(-1, 1), 3) for images in (prediction, target)]
        with torch.no_grad():
            self.take("lpips", self.network(*pair).flatten())

    def compute(self) -> dict[str, Tensor]:
        """The mean; NaN without images."""
        return {"reconstruction_lpips": self.means()["lpips"]}

    def standard_errors(self) -> dict[str, float]:
        """That of the mean over images."""
        return {f"reconstruction_{kind}": error for kind, error in self.errors.items()}

    def protocol(self) -> dict[str, Any]:
        """Which network."""
        return {"net": self.net, "weights_sha256": self.sha256}
