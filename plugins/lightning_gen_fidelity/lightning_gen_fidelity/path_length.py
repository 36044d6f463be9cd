"""torch-fidelity's perceptual path length in latent space, https://arxiv.org/abs/1812.04948, section 4.1."""

from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch_fidelity import calculate_metrics
from torch_fidelity.sample_similarity_lpips import URL_VGG16_LPIPS
from torchvision.models import VGG16_Weights

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.metrics.image_metric import PairedMetric
from lightning_gen.utilities.ranks import Ranks
from lightning_gen_fidelity.weights import checked_in_cache
from lightning_gen_fidelity.wrapping import Wrapped

NAME = "torch_fidelity_ppl"


class TorchFidelityPathLength(PairedMetric):
    """Mean LPIPS / `epsilon`^2 between images of latents that are `epsilon` apart on paths between two samples.

    Distances outside the percentiles `discard` are discarded. torch-fidelity uses images `rounded` to 8 bits, which
    turns most small steps into none and others into too large ones. Real images are not used. The first process
    computes.
    """

    needs = "decode"
    quick = False
    better = {"torch_fidelity/ppl": "lower"}

    def __init__(
        self,
        samples: PositiveInt,
        epsilon: PositiveFloat,
        interpolation: Literal["lerp", "slerp_any", "slerp_unit"],
        size: PositiveInt | None,
        discard: list[float] | None,
        rounded: bool,
        batch_size: PositiveInt,
    ):
        super().__init__()
        low, high = discard or (0.0, 100.0)
        if not 0 <= low < high <= 100:
            raise UserError(f"metrics.{NAME}.discard={discard}: give two percentiles, the lower first, or null")
        checked_in_cache(VGG16_Weights.IMAGENET1K_V1.url, "397923af", NAME)
        checked_in_cache(URL_VGG16_LPIPS, "", NAME)
        self.samples = samples
        self.epsilon = epsilon
        self.interpolation = interpolation
        self.size = size
        self.percentiles = (low, high)
        self.rounded = rounded
        self.batch_size = batch_size
        self.models: list[Any] = []  # a list: as an attribute it would become a submodule

    def why_not(self, model: Any, data: Any) -> str | None:
        if len(model.image_shape) != 3:
            return "torch-fidelity takes single images"
        wrapped = Wrapped(model)
        noise = wrapped.sample_noise(1).repeat(2, 1)
        first, second = wrapped(noise).int()
        return "the decoder is stochastic" if (first - second).abs().max() > 1 else None

    def update_from(self, model: Any, batch: Batch) -> None:
        """Store the model."""
        self.models = [model]
        self.update()

    def update(self) -> None:
        """Without arguments: the metric has no states."""

    def compute(self) -> dict[str, Tensor]:
        """The mean distance."""
        value = Ranks().run_on_first(self._compute)
        return {"torch_fidelity/ppl": torch.tensor(value, dtype=torch.float64)}

    def _compute(self) -> float:
        model = self.models[0]
        scores = calculate_metrics(
            input1=Wrapped(model, self.rounded),
            input1_model_num_samples=self.samples,
            ppl=True,
            ppl_epsilon=self.epsilon,
            ppl_z_interp_mode=self.interpolation,
            ppl_sample_similarity_resize=self.size,
            ppl_sample_similarity_dtype="uint8" if self.rounded else None,
            # Percentiles are discarded below: torch-fidelity does it with an argument that NumPy 2.4 removed.
            ppl_reduction="none",
            ppl_discard_percentile_lower=None,
            ppl_discard_percentile_higher=None,
            cuda=model.device.type == "cuda",
            batch_size=self.batch_size,
            verbose=False,
        )
        return trimmed_mean(scores["perceptual_path_length_raw"], *self.percentiles)

    def protocol(self) -> dict[str, Any]:
        """How paths are sampled."""
        return {
            "torch_fidelity": version("torch-fidelity"),
            "samples": self.samples,
            "epsilon": self.epsilon,
            "interpolation": self.interpolation,
            "size": self.size,
            "rounded": self.rounded,
            "percentiles": list(self.percentiles),
        }


def trimmed_mean(distances: Any, low: float, high: float) -> float:
    """The mean of the distances between two percentiles (0 to 100), as in torch-fidelity."""
    distances = np.asarray(distances).reshape(-1)
    minimum, maximum = np.percentile(distances, low, method="lower"), np.percentile(distances, high, method="higher")
    return float(distances[(minimum <= distances) & (distances <= maximum)].mean())
