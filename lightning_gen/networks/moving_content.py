"""Content moved as a whole: a spatial transformer over time, https://arxiv.org/abs/1506.02025."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MovingContent(nn.Module):
    """Maps `(B, channels, H, W)` and points of a motion `(B, T, motion_dim)` to frames `(B, T, out_channels, H, W)`.

    Each point chooses an affine transformation of the maps, outside of which there is nothing; two convolutions make
    the frame of what it gives.
    """

    def __init__(self, channels: int, out_channels: int, motion_dim: int):
        super().__init__()
        self.transformation = nn.Linear(motion_dim, 6)
        with torch.no_grad():
            self.transformation.weight[[0, 1, 3, 4]] *= 0.1  # at first it moves more than it turns and scales
            self.transformation.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
        self.out = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )

    def forward(self, maps: Tensor, path: Tensor) -> Tensor:
        frames = path.shape[:2]
        maps = maps[:, None].expand(-1, frames[1], -1, -1, -1).flatten(0, 1)
        transformations = self.transformation(path).float().view(-1, 2, 3)
        places = F.affine_grid(transformations, list(maps.shape), align_corners=False).to(maps.dtype)
        return self.out(F.grid_sample(maps, places, align_corners=False)).unflatten(0, frames)
