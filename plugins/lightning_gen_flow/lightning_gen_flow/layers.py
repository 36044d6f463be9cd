"""Layers of both networks: the conditioning vector, attention, and position embeddings."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Radians per unit of the noise level, which lies between about -2 and 2.
LOWEST, HIGHEST = 1.0, 32.0


class Condition(nn.Module):
    """Noise levels `(B,)` and labels `(B,)`, where `num_classes` means no label, to vectors `(B, dim)`."""

    frequencies: Tensor

    def __init__(self, dim: int, num_classes: int | None):
        super().__init__()
        half = max(4, dim // 2)
        self.register_buffer(
            "frequencies", torch.logspace(math.log10(LOWEST), math.log10(HIGHEST), half), persistent=False
        )
        self.embed = nn.Sequential(nn.Linear(2 * half, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.labels = nn.Embedding(num_classes + 1, dim) if num_classes else None
        if self.labels is not None:
            nn.init.normal_(self.labels.weight, std=0.02)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        angles = noise[:, None] * self.frequencies
        vectors = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.labels is None:
            return vectors
        if labels is None:
            labels = torch.full(noise.shape, self.labels.num_embeddings - 1, device=noise.device)
        return vectors + self.labels(labels)


class Attention(nn.Module):
    """Self-attention between the tokens of `(B, N, dim)`, with heads of about `head_dim` channels."""

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.heads = max(heads for heads in range(1, dim + 1) if dim % heads == 0 and heads <= max(1, dim // head_dim))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


def positions(sizes: tuple[int, ...], dim: int) -> Tensor:
    """Sinusoidal position embeddings `(N, dim)` of a grid: sines and cosines for each axis, padded with zeros."""
    half = dim // (2 * len(sizes))
    frequencies = 10_000 ** (-torch.arange(half) / max(1, half))
    axes = torch.meshgrid(*(torch.arange(size) for size in sizes), indexing="ij")
    angles = [axis.flatten()[:, None] * frequencies for axis in axes]
    waves = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return F.pad(waves, (0, dim - waves.shape[1]))


def zero(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer with weights and bias of 0, so that its initial output is 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
