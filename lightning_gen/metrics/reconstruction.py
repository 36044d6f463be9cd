"""How well a model reconstructs: squared error, PSNR, and SSIM (https://doi.org/10.1109/TIP.2003.819861)."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.metrics.image_metric import PairedMetric

SMALLEST_FOR_SSIM = 6  # its window of 11 pixels is padded by reflection


class Reconstruction(PairedMetric):
    """MSE and PSNR over all values of all images, SSIM as a mean over images; all on a range of [0, 1].

    Images under 6 pixels have no SSIM: it is left out.
    """

    needs = "reconstruct"
    better = {"reconstruction_mse": "lower", "reconstruction_psnr": "higher", "reconstruction_ssim": "higher"}

    squared_error: Tensor
    values: Tensor
    ssim: Tensor
    images_with_ssim: Tensor

    def __init__(self):
        super().__init__()
        for state in ("squared_error", "values", "ssim", "images_with_ssim"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, model: Any, batch: Batch) -> None:
        """Reconstruct a batch."""
        self.update(model.reconstruct(batch.images, batch.labels), batch.images)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in reconstructions and what they are of, `(B, C, H, W)` in [-1, 1]."""
        from torchmetrics.functional.image import structural_similarity_index_measure

        device = self.values.device
        prediction, target = ((images.to(device).float().clamp(-1, 1) + 1) / 2 for images in (prediction, target))
        self.squared_error += (prediction - target).square().double().sum()
        self.values += target.numel()
        if min(target.shape[-2:]) >= SMALLEST_FOR_SSIM:
            ssim = structural_similarity_index_measure(prediction, target, data_range=1.0, reduction="none")
            self.ssim += ssim.double().sum()
            self.images_with_ssim += len(target)

    def compute(self) -> dict[str, Tensor]:
        """MSE, PSNR in decibels, SSIM; an exact reconstruction has a PSNR of infinity."""
        mse = self.squared_error / self.values
        scores = {"reconstruction_mse": mse, "reconstruction_psnr": -10 * mse.log10()}
        if self.images_with_ssim > 0:
            scores["reconstruction_ssim"] = self.ssim / self.images_with_ssim
        return scores

    def protocol(self) -> dict[str, Any]:
        """The range of values."""
        return {"data_range": 1.0}
