"""Active units: the number of latent dimensions in use, https://arxiv.org/abs/1509.00519, section 5.2."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.capabilities import Encodes
from lightning_gen.metrics.image_metric import PairedMetric
from lightning_gen.metrics.stored_features import concat


class ActiveUnits(PairedMetric):
    """Number and fraction of latent dimensions whose posterior mean varies over images: `Var(E[z | x]) > threshold`.

    A number that falls during training is posterior collapse.
    """

    needs = "encode"
    better = {"active_units": "higher", "active_units_share": "higher"}

    latents: list[Tensor]
    count: Tensor

    def __init__(self, threshold: NonNegativeFloat = 0.01):
        super().__init__()
        self.threshold = threshold
        # Flat float32, as torchmetrics creates it in a process without images: other shapes cannot be gathered.
        self.add_state("latents", [], dist_reduce_fx="cat")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update_from(self, model: Encodes, batch: Batch) -> None:
        """Encode a batch."""
        self.update(model.encode(batch.images, batch.labels))

    def update(self, latents: Tensor) -> None:
        """Add posterior means `(B, d)`."""
        self.latents.append(latents.to(self.count.device).float().flatten())
        self.count += len(latents)

    def compute(self) -> dict[str, Tensor]:
        """Number and fraction; NaN with fewer than two images, or latents that are not finite."""
        latents = concat(self.latents)
        if self.count < 2 or not latents.isfinite().all():
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        active = latents.view(int(self.count), -1).double().var(0) > self.threshold
        return {"active_units": active.double().sum(), "active_units_share": active.double().mean()}

    def protocol(self) -> dict[str, Any]:
        """The variance above which a dimension is active."""
        return {"threshold": self.threshold}
