"""Posteriors by flows: noise of a diagonal normal, transformed step by step, so that any shape can be learned."""

from collections.abc import Callable
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.posterior import PosteriorFamily

# Latents (B, d) to transformed ones and the log-determinant of the Jacobian, (B,).
Transform = Callable[[Tensor], tuple[Tensor, Tensor]]


class FlowPosterior:
    """The distribution of `transforms` of a diagonal normal. Its density is known of the sample drawn last."""

    def __init__(self, base: DiagonalNormal, transforms: list[Transform]):
        self.base = base
        self.transforms = transforms
        self._drawn: tuple[Tensor, Tensor] | None = None

    def noise(self) -> Tensor:
        return self.base.noise()

    def reparameterize(self, noise: Tensor) -> Tensor:
        latents = self.base.reparameterize(noise)
        log_prob = self.base.log_prob(latents)
        for transform in self.transforms:
            latents, log_det = transform(latents)
            log_prob = log_prob - log_det
        self._drawn = latents, log_prob
        return latents

    @property
    def mean(self) -> Tensor:
        return self.reparameterize(torch.zeros_like(self.base.mean))

    def log_prob(self, latents: Tensor) -> Tensor:
        if self._drawn is None or self._drawn[0] is not latents:
            raise RuntimeError("the density of a flow is known of the sample drawn last only")
        return self._drawn[1]

    def kl(self, prior: Any) -> None:
        """None: there is no closed form."""
        return

    def detached(self) -> Self:
        raise RuntimeError("the density of a flow is known of the sample drawn last only")


class PlanarPosterior(PosteriorFamily):
    """Planar flow of `steps` steps, whose parameters the encoder predicts: https://arxiv.org/abs/1505.05770."""

    anywhere = False

    def __init__(self, dim: int, *, steps: PositiveInt):
        super().__init__(dim)
        self.steps = steps

    @property
    def out_dim(self) -> int:
        return 2 * self.dim + self.steps * (2 * self.dim + 1)

    def forward(self, output: Tensor) -> FlowPosterior:
        normal, *steps = output.float().split([2 * self.dim, *[2 * self.dim + 1] * self.steps], dim=1)
        return FlowPosterior(DiagonalNormal.of(normal), [planar(step) for step in steps])


def planar(parameters: Tensor) -> Transform:
    """z + u tanh(w^T z + b), eq. 10, of parameters `(B, 2 * d + 1)`: direction u, normal w, offset b."""
    dim = parameters.shape[1] // 2
    direction, normal, offset = parameters.split([dim, dim, 1], dim=1)
    # w^T u > -1 makes it invertible: appendix A.1
    product = (direction * normal).sum(1, keepdim=True)
    excess = F.softplus(product) - 1 - product
    direction = direction + excess * normal / normal.square().sum(1, keepdim=True).clamp(min=1e-6)

    def transform(latents: Tensor) -> tuple[Tensor, Tensor]:
        activation = ((normal * latents).sum(1, keepdim=True) + offset).tanh()
        slope = (1 - activation.square()) * (direction * normal).sum(1, keepdim=True)
        return latents + direction * activation, slope.log1p().squeeze(1)  # eq. 12

    return transform


class InverseAutoregressivePosterior(PosteriorFamily):
    """Inverse autoregressive flow of `steps` masked networks of `hidden` units, https://arxiv.org/abs/1606.04934.

    The encoder predicts a `context` of so many values for them.
    """

    anywhere = False

    def __init__(self, dim: int, *, steps: PositiveInt, hidden: PositiveInt, context: PositiveInt):
        super().__init__(dim)
        self.context = context
        self.networks = nn.ModuleList(MaskedNetwork(dim, context, hidden) for _ in range(steps))

    @property
    def out_dim(self) -> int:
        return 2 * self.dim + self.context

    def forward(self, output: Tensor) -> FlowPosterior:
        normal, context = output.float().tensor_split([2 * self.dim], dim=1)
        transforms = [autoregressive(network, context) for network in self.networks]
        return FlowPosterior(DiagonalNormal.of(normal), transforms)


def autoregressive(network: nn.Module, context: Tensor) -> Transform:
    """Each latent moved by a gate that depends on those before it, and their order reversed for the next step."""

    def transform(latents: Tensor) -> tuple[Tensor, Tensor]:
        shift, gate = network(latents, context).float().chunk(2, dim=1)
        moved = torch.lerp(shift, latents, gate.sigmoid())  # eq. 14
        return moved.flip(1), F.logsigmoid(gate).sum(1)

    return transform


class MaskedNetwork(nn.Module):
    """A hidden layer, masked so that outputs `(B, 2 * dim)` depend on earlier inputs, https://arxiv.org/abs/1502.03509."""

    inputs_mask: Tensor
    outputs_mask: Tensor

    def __init__(self, dim: int, context: int, hidden: int):
        super().__init__()
        self.inputs, self.outputs = nn.Linear(dim, hidden), nn.Linear(hidden, 2 * dim)
        self.context = nn.Linear(context, hidden, bias=False)
        positions, degrees = torch.arange(1, dim + 1), torch.arange(hidden) % max(1, dim - 1) + 1
        self.register_buffer("inputs_mask", (degrees[:, None] >= positions).float(), persistent=False)
        self.register_buffer("outputs_mask", (positions.repeat(2)[:, None] > degrees).float(), persistent=False)
        nn.init.constant_(self.outputs.bias[dim:], 2.0)  # gates begin open: nearly the identity

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        hidden = F.linear(latents, self.inputs.weight * self.inputs_mask, self.inputs.bias) + self.context(context)
        return F.linear(F.elu(hidden), self.outputs.weight * self.outputs_mask, self.outputs.bias)
