"""Vector quantization with a codebook of moving averages: https://arxiv.org/abs/1711.00937, appendix A.1.

Codes that are hardly used start again from features of the batch, as in Jukebox, https://arxiv.org/abs/2005.00341.
"""

import torch
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat, PositiveInt, UnitInterval
from lightning_gen.networks.quantizer import Quantized, Quantizer, straight_through
from lightning_gen.utilities.autocast import without_autocast
from lightning_gen.utilities.ranks import Ranks, sum_over_ranks
from lightning_gen.utilities.whole_batch import no_draws

EMPTY = 1e-6  # a moving count that stands for none


class EMACodebook(Quantizer):
    """Each vector becomes the nearest of `num_codes` vectors, each of which follows the mean of what it stands for.

    `decay` is that of the moving averages, `commitment` the weight of the features' squared distance from their codes.
    A code whose moving count is below `restart_below` times the mean one becomes a random feature of the batch; so do
    nearly all after the first batch. With several processes all have the codebook that one would have.
    """

    codebook: Tensor  # (K, D)
    counts: Tensor  # (K,), moving averages of the number of vectors per batch
    sums: Tensor  # (K, D), and of their sum

    def __init__(
        self,
        *,
        num_codes: PositiveInt,
        dim: PositiveInt,
        decay: UnitInterval = 0.99,
        commitment: NonNegativeFloat = 0.25,
        restart_below: NonNegativeFloat = 0.1,
    ):
        super().__init__()
        self.num_codes, self.dim = num_codes, dim
        self.decay, self.commitment, self.restart_below = decay, commitment, restart_below
        self.register_buffer("codebook", torch.randn(num_codes, dim))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, dim))

    def forward(self, features: Tensor) -> Quantized:
        with without_autocast(features.device):
            features = features.float()
            vectors = features.permute(0, 2, 3, 1)  # (B, H, W, D)
            codes = self.nearest(vectors.detach().flatten(0, 2)).view(len(vectors), 1, *vectors.shape[1:3])
            latents = self.lookup(codes)
            if self.training:
                self.follow(vectors.detach().flatten(1, 2), codes.flatten())
            # eq. 3: beta ||z - sg[e]||^2, of an image
            commitment = self.commitment * (features - latents).square().sum((1, 2, 3)).mean()
        return Quantized(straight_through(features, latents), codes, {"commitment": commitment})

    def nearest(self, vectors: Tensor) -> Tensor:
        """Codes `(N,)` of vectors `(N, D)`: argmin ||v - e||^2 = argmin ||e||^2 / 2 - v e."""
        return torch.addmm(self.codebook.square().sum(1) / 2, vectors, self.codebook.T, alpha=-1).argmin(1)

    def lookup(self, codes: Tensor) -> Tensor:
        return self.codebook[codes[:, 0]].permute(0, 3, 1, 2)

    @torch.no_grad()
    def follow(self, vectors: Tensor, codes: Tensor) -> None:
        """Update the averages with the vectors `(B, P, D)` of all ranks and their codes, then restart unused codes."""
        flat = vectors.flatten(0, 1)
        added = torch.cat([flat, torch.ones_like(flat[:, :1])], 1)
        totals = sum_over_ranks(added.new_zeros(self.num_codes, self.dim + 1).index_add_(0, codes, added))
        self.sums.lerp_(totals[:, :-1], 1 - self.decay)
        self.counts.lerp_(totals[:, -1], 1 - self.decay)
        means = self.sums / self.counts.clamp(min=EMPTY)[:, None]
        self.codebook.copy_(torch.where((self.counts > EMPTY)[:, None], means, self.codebook))  # eqs. 6 to 8
        self._restart(vectors)

    def _restart(self, vectors: Tensor) -> None:
        mean = self.counts.mean()
        unused = self.counts < self.restart_below * mean
        fresh = self._drawn(vectors)
        self.counts.copy_(torch.where(unused, mean, self.counts))  # enough to be kept for a while
        self.codebook.copy_(torch.where(unused[:, None], fresh, self.codebook))
        self.sums.copy_(torch.where(unused[:, None], fresh * mean, self.sums))

    def _drawn(self, vectors: Tensor) -> Tensor:
        """A random one of the vectors `(B, P, D)` of all ranks for each code, the same on all ranks."""
        ranks, (images, positions) = Ranks(), vectors.shape[:2]
        with no_draws():  # one draw, not one for each row of the batch
            drawn = torch.randint(images * ranks.size * positions, (self.num_codes,), device=vectors.device)
        image, position = drawn // positions, drawn % positions
        # Rank r has the images r, r + W, r + 2W, ...
        is_mine = image % ranks.size == ranks.rank
        return sum_over_ranks(vectors[image // ranks.size, position] * is_mine[:, None])
