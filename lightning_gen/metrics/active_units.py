"""Active units: how many latent dimensions a model uses, https://arxiv.org/abs/1509.00519, section 5.2."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.metrics.image_metric import PairedMetric
from lightning_gen.metrics.kept_features import together


class ActiveUnits(PairedMetric):
    """Latent dimensions whose posterior mean varies over images, `Var(E[z | x]) > threshold`: their number and share.

    A number that falls during training is posterior collapse.
    """

    needs = "encode"
    better = {"active_units": "higher", "active_units_share": "higher"}

    latents: list[Tensor]
    count: Tensor

    def __init__(self, threshold: NonNegativeFloat = 0.01):
        super().__init__()
        self.threshold = threshold
        # Flat and float32, as torchmetrics has it for a process that saw no image: any other would not be added up.
        self.add_state("latents", [], dist_reduce_fx="cat")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def observe(self, model: Any, batch: Batch) -> None:
        """Encode a batch."""
        self.update(model.encode(batch.images, batch.labels))

    def update(self, latents: Tensor) -> None:
        """Take in posterior means `(B, d)`."""
        self.latents.append(latents.to(self.count.device).float().flatten())
        self.count += len(latents)

    def compute(self) -> dict[str, Tensor]:
        """Number and share; NaN with fewer than two images, or latents that are not finite."""
        latents = together(self.latents)
        if self.count < 2 or not latents.isfinite().all():
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        active = latents.view(self.count, -1).double().var(0) > self.threshold
        return {"active_units": active.double().sum(), "active_units_share": active.double().mean()}

    def protocol(self) -> dict[str, Any]:
        """From which variance on a dimension is active."""
        return {"threshold": self.threshold}
