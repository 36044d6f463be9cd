"""Sharpness of samples: the variance of their Laplacian, https://doi.org/10.1109/ICPR.2000.903548."""

import torch
from torch import Tensor

from lightning_gen.metrics.image_metric import SampleMetric

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


class MyOption(SampleMetric):
    """The mean over all samples, which does not depend on the batch size."""

    better = {"my_option": "higher"}

    def __init__(self):
        super().__init__()
        for state in ("total", "count"):  # summed over processes
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Add samples `(B, C, H, W)`, or sequences `(B, T, C, H, W)`, in [-1, 1]."""
        gray = images.to(self.total.device).float().flatten(0, -4).mean(-3, keepdim=True)  # (N, 1, H, W)
        kernel = gray.new_tensor(LAPLACIAN)[None, None]
        edges = torch.nn.functional.conv2d(gray, kernel)
        self.total += edges.flatten(1).var(1).double().sum()
        self.count += len(gray)

    def compute(self) -> dict[str, Tensor]:
        """The score; NaN without samples."""
        return {"my_option": self.total / self.count}
