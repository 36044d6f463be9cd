"""Reconstruction error: MSE, MAE, PSNR, SSIM and MS-SSIM."""

from typing import Any

from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Reconstructs
from lightning_gen.metrics.image_means import ImageMeans
from lightning_gen.metrics.structural_similarity import MIN_SIZE, ms_ssim, num_scales, ssim


class Reconstruction(ImageMeans):
    """MSE, MAE, SSIM and MS-SSIM as means over images, and the PSNR of the mean MSE, for values in [0, 1].

    Images under 6 pixels have no SSIM. MS-SSIM uses those of its five scales at which images have at least 11 pixels,
    with weights scaled to add up to 1; images under 22 pixels (one scale) have none.
    """

    needs = "reconstruct"
    better = {
        "reconstruction_mse": "lower",
        "reconstruction_mae": "lower",
        "reconstruction_psnr": "higher",
        "reconstruction_ssim": "higher",
        "reconstruction_ms_ssim": "higher",
    }

    mse: Tensor

    def __init__(self):
        super().__init__("mse", "mae", "ssim", "ms_ssim")
        self.scales = 0

    def update_from(self, model: Reconstructs, batch: Batch) -> None:
        """Reconstruct a batch."""
        self.update(model.reconstruct(batch.images, batch.labels), batch.images)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add reconstructions and their targets, `(B, C, H, W)` or `(B, T, C, H, W)` in [-1, 1]."""
        prediction, target = (
            (images.to(self.mse.device).float().clamp(-1, 1) + 1) / 2 for images in (prediction, target)
        )
        difference = (prediction - target).flatten(1).double()
        self.accumulate("mse", difference.square().mean(1))
        self.accumulate("mae", difference.abs().mean(1))
        self.scales = num_scales(*target.shape[-2:])
        frames = prediction.flatten(0, -4), target.flatten(0, -4)  # of images: these themselves
        if min(target.shape[-2:]) >= MIN_SIZE:
            self.accumulate("ssim", ssim(*frames)[0].view(len(target), -1).mean(1))
        if self.scales > 1:
            self.accumulate("ms_ssim", ms_ssim(*frames, self.scales).view(len(target), -1).mean(1))

    def compute(self) -> dict[str, Tensor]:
        """The scores, PSNR in decibels; an exact reconstruction has a PSNR of infinity."""
        means = self.means()
        means["psnr"] = -10 * means["mse"].log10()
        names = {name: name.removeprefix("reconstruction_") for name in self.better}
        return {name: means[kind] for name, kind in names.items() if kind in means}

    def standard_errors(self) -> dict[str, float]:
        """Standard errors of the means over images: of all scores but PSNR."""
        return {f"reconstruction_{kind}": error for kind, error in self.errors.items()}

    def protocol(self) -> dict[str, Any]:
        """The range of values, and the number of scales of MS-SSIM."""
        return {"data_range": 1.0} | ({"ms_ssim_scales": self.scales} if self.scales > 1 else {})
