"""DiT: a transformer on patches, conditioned by adaptive layer norm (adaLN-Zero), https://arxiv.org/abs/2212.09748."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt, UnitInterval
from lightning_gen_flow.layers import Attention, Condition, positions, zero
from lightning_gen_flow.unet import padded


class DiT(nn.Module):
    """Noisy images or sequences of any size to a tensor of the same shape: `depth` blocks on tokens of size `width`.

    A token is `patch` x `patch` pixels of a frame; all tokens of a sequence attend to each other.
    """

    positions: Tensor

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        width: PositiveInt,
        depth: PositiveInt,
        patch: PositiveInt,
        head_dim: PositiveInt,
        mlp_ratio: PositiveInt = 4,
        dropout: UnitInterval,
    ):
        super().__init__()
        *frames, channels, height, pixels_wide = image_shape
        self.patch = patch
        self.sizes = (*(frames or [1]), -(-height // patch), -(-pixels_wide // patch))
        self.condition = Condition(width, num_classes)
        self.tokens = nn.Linear(channels * patch**2, width)
        places = self.sizes if frames else self.sizes[1:]
        self.register_buffer("positions", positions(places, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, head_dim, mlp_ratio, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulate = zero(nn.Linear(width, 2 * width))
        self.out = zero(nn.Linear(width, channels * patch**2))

    def forward(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = F.silu(self.condition(noise, labels))[:, None]  # (B, 1, width)
        frames, rows, columns = self.sizes
        flat = padded(images.flatten(0, 1) if images.ndim == 5 else images, self.patch)
        patches = F.pixel_unshuffle(flat, self.patch)  # (B * T, C * patch * patch, rows, columns)
        places = patches.unflatten(0, (-1, frames)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        tokens = self.tokens(places) + self.positions
        for block in self.blocks:
            tokens = block(tokens, condition)
        scale, shift = self.modulate(condition).chunk(2, dim=2)
        places = self.out(self.norm(tokens) * (1 + scale) + shift)
        maps = places.unflatten(1, (frames, rows, columns)).permute(0, 1, 4, 2, 3).flatten(0, 1)
        height, width = images.shape[-2:]
        return F.pixel_shuffle(maps, self.patch)[..., :height, :width].reshape(images.shape)


class Block(nn.Module):
    """Attention and an MLP, each scaled and shifted before and gated after by the condition; gates start at 0."""

    def __init__(self, width: int, head_dim: int, mlp_ratio: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = Attention(width, head_dim)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(mlp_ratio * width, width),
        )
        self.modulate = zero(nn.Linear(width, 6 * width))

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = self.modulate(condition).chunk(6, dim=2)
        tokens = tokens + gate * self.attention(self.norm(tokens) * (1 + scale) + shift)
        return tokens + mlp_gate * self.mlp(self.norm(tokens) * (1 + mlp_scale) + mlp_shift)
