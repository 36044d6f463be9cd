"""Lookup-free quantization (LFQ), https://arxiv.org/abs/2310.05737: signs of the channels are the bits of a code."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.networks.quantizer import Quantized, Quantizer, straight_through
from lightning_gen.utilities.autocast import without_autocast
from lightning_gen.utilities.ranks import Ranks, add_over_ranks


class LookupFree(Quantizer):
    """Latents in {-1, 1}^bits. The `entropy` term, of a position, makes codes certain, and all of them used: eq. 5.

    `diversity` weights the entropy of the codes of a batch against that of single codes. `commitment` weights the
    features' squared distance from their latents.
    """

    bits: Tensor  # values of the bits, (D, 1, 1)
    table: Tensor  # all latents, (K, D)

    def __init__(
        self,
        *,
        dim: Annotated[int, Ge(1), Le(14)],  # the entropy needs a table of all 2^dim codes
        entropy: NonNegativeFloat = 1.0,
        diversity: NonNegativeFloat = 1.0,
        commitment: NonNegativeFloat = 0.25,
    ):
        super().__init__()
        self.dim, self.num_codes = dim, 2**dim
        self.entropy, self.diversity, self.commitment = entropy, diversity, commitment
        bits = 2 ** torch.arange(dim)
        self.register_buffer("bits", bits[:, None, None], persistent=False)
        table = (torch.arange(self.num_codes)[:, None] & bits > 0) * 2.0 - 1
        self.register_buffer("table", table, persistent=False)

    def forward(self, features: Tensor) -> Quantized:
        with without_autocast(features.device):
            features = features.float()
            latents = torch.where(features > 0, 1.0, -1.0)
            codes = ((latents > 0) * self.bits).sum(1, keepdim=True)
            terms = {
                "entropy": self.entropy * self._entropy(features) * codes[0].numel(),
                "commitment": self.commitment * (features - latents).square().sum((1, 2, 3)).mean(),
            }
        return Quantized(straight_through(features, latents), codes, terms)

    def _entropy(self, features: Tensor) -> Tensor:
        """E[H(q(c | z))] - diversity * H(E[q(c | z)]), nats, where q is the softmax of -||z - c||^2."""
        probabilities = (2 * features.permute(0, 2, 3, 1).flatten(0, 2) @ self.table.T).softmax(1)  # (N, K)
        mean = probabilities.mean(0)
        if self.training:  # of the batch of all ranks
            mean = add_over_ranks(mean) / Ranks().size
        return torch.special.entr(probabilities).sum(1).mean() - self.diversity * torch.special.entr(mean).sum()

    def lookup(self, codes: Tensor) -> Tensor:
        return (codes & self.bits > 0) * 2.0 - 1
