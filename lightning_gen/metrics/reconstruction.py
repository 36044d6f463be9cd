"""How well a model reconstructs: squared and absolute error, PSNR, SSIM and MS-SSIM."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.metrics.image_means import ImageMeans

SMALLEST_FOR_SSIM = 6  # its window of 11 pixels is padded by reflection
WINDOW = 11
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, from the finest on: the paper's table


class Reconstruction(ImageMeans):
    """MSE, MAE, SSIM and MS-SSIM as means over images, PSNR that of the MSE; all on a range of [0, 1].

    SSIM is https://doi.org/10.1109/TIP.2003.819861; images under 6 pixels have none. MS-SSIM
    (https://doi.org/10.1109/ACSSC.2003.1292216) has as many of five scales as leave its window its 11 pixels, their
    weights scaled to add up to 1; images under 22 pixels, with only one, have none.
    """

    needs = "reconstruct"
    better = {
        "reconstruction_mse": "lower",
        "reconstruction_mae": "lower",
        "reconstruction_psnr": "higher",
        "reconstruction_ssim": "higher",
        "reconstruction_ms_ssim": "higher",
    }

    def __init__(self):
        super().__init__("mse", "mae", "ssim", "ms_ssim")
        self.scales = 0

    def observe(self, model: Any, batch: Batch) -> None:
        """Reconstruct a batch."""
        self.update(model.reconstruct(batch.images, batch.labels), batch.images)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in reconstructions and what they are of, `(B, C, H, W)` in [-1, 1]."""
        from torchmetrics.functional.image import structural_similarity_index_measure

        pair = [((images.to(self.mse.device).float().clamp(-1, 1) + 1) / 2) for images in (prediction, target)]
        difference = (pair[0] - pair[1]).flatten(1).double()
        self.take("mse", difference.square().mean(1))
        self.take("mae", difference.abs().mean(1))
        self.scales = num_scales(*target.shape[-2:])
        if min(target.shape[-2:]) >= SMALLEST_FOR_SSIM:
            self.take("ssim", structural_similarity_index_measure(*pair, data_range=1.0, reduction="none").view(-1))
        if self.scales > 1:
            self.take("ms_ssim", ms_ssim(*pair, self.scales))

    def compute(self) -> dict[str, Tensor]:
        """The scores, PSNR in decibels; an exact reconstruction has a PSNR of infinity."""
        found = self.means()
        found["psnr"] = -10 * found["mse"].log10()
        names = {name: name.removeprefix("reconstruction_") for name in self.better}
        return {name: found[kind] for name, kind in names.items() if kind in found}

    def standard_errors(self) -> dict[str, float]:
        """Those of the means over images: of all but PSNR."""
        return {f"reconstruction_{kind}": error for kind, error in self.errors.items()}

    def protocol(self) -> dict[str, Any]:
        """The range of values, and the scales of MS-SSIM where there are any."""
        return {"data_range": 1.0} | ({"ms_ssim_scales": self.scales} if self.scales > 1 else {})


def num_scales(height: int, width: int) -> int:
    """How many scales, each half the size of the one before, are not smaller than the window; at most five."""
    size = min(height, width)
    return sum(size // 2**scale >= WINDOW for scale in range(len(WEIGHTS)))


def ms_ssim(prediction: Tensor, target: Tensor, scales: int) -> Tensor:
    """MS-SSIM `(B,)` of images `(B, C, H, W)` in [0, 1], eq. 7: contrast and structure at all scales, and luminance at
    the last; where they disagree in sign, 0."""
    from torch.nn.functional import avg_pool2d
    from torchmetrics.functional.image import structural_similarity_index_measure

    weights = torch.tensor(WEIGHTS[:scales], device=target.device)
    weights = weights / weights.sum() if scales < len(WEIGHTS) else weights  # all five add up to 1.0001
    found = []
    for scale in range(scales):
        if scale:
            prediction, target = avg_pool2d(prediction, 2), avg_pool2d(target, 2)
        ssim, contrast = structural_similarity_index_measure(
            prediction, target, data_range=1.0, reduction="none", return_contrast_sensitivity=True
        )
        found.append(ssim if scale == scales - 1 else contrast)
    return (torch.stack([each.view(-1) for each in found]).clamp(min=0) ** weights[:, None]).prod(0)
