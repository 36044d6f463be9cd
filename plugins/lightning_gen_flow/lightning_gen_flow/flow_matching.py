"""Flow matching on straight paths, https://arxiv.org/abs/2210.02747; rectified flow, https://arxiv.org/abs/2209.03003."""

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen_flow.probability_flow import ProbabilityFlow, like

RHO = 3.0  # likelihoods take small steps near the data, where the field changes fastest


class FlowMatching(ProbabilityFlow):
    """Noise goes to the image on a straight line: at the level t, x is (1 - t) * image + t * noise.

    The papers' time runs the other way, from noise at 0 to images at 1.
    """

    largest = 1.0

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of the velocity, eq. 14 of the former and eq. 1 of the latter paper."""
        x = self.to_support(batch.images)
        noise = torch.randn_like(x)
        level = self.noise_level.draw(len(x), x.device).sigmoid()
        noisy = torch.lerp(x, noise, like(level, x))
        velocity = self.field(noisy, level, self.forgotten(batch.labels))
        return {"loss": (velocity - (noise - x)).square().mean()}

    def field(self, x: Tensor, level: Tensor, labels: Tensor | None) -> Tensor:
        """The velocity, which is what the network gives."""
        log_ratio = torch.logit(level, eps=1e-3).expand(len(x))
        return self.network(x, log_ratio / 4, labels).float()

    def sampling_levels(self, steps: int) -> Tensor:
        """Evenly spaced."""
        return torch.linspace(1, 0, steps + 1)

    def likelihood_levels(self, steps: int) -> Tensor:
        """Dense near 0."""
        return torch.linspace(0, 1, steps + 1) ** RHO
