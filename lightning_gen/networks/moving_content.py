"""Content moved as a whole: a spatial transformer over time, https://arxiv.org/abs/1506.02025."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MovingContent(nn.Module):
    """Maps `(B, channels, H, W)` and points of a motion `(B, T, motion_dim)` to frames `(B, T, out_channels, H, W)`.

    The first point places the maps, by an affine transformation, and each later one moves them on, by what it adds to
    that; two convolutions make the frame of what is seen then.
    """

    def __init__(self, channels: int, out_channels: int, motion_dim: int):
        super().__init__()
        self.place = nn.Linear(motion_dim, 6)
        self.step = nn.Linear(motion_dim, 6, bias=False)
        with torch.no_grad():
            self.place.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
            self.step.weight *= 0.2
            for layer in (self.place, self.step):
                layer.weight[[0, 1, 3, 4]] *= 0.1  # at first it moves more than it turns and scales
        self.out = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )

    def forward(self, maps: Tensor, path: Tensor) -> Tensor:
        frames = path.shape[:2]
        maps = maps[:, None].expand(-1, frames[1], -1, -1, -1).flatten(0, 1)
        first, later = path.tensor_split([1], dim=1)
        steps = torch.cat([self.place(first), self.step(later)], dim=1)
        transformations = steps.float().cumsum(1).view(-1, 2, 3)
        places = F.affine_grid(transformations, list(maps.shape), align_corners=False).to(maps.dtype)
        seen = F.grid_sample(maps, places, padding_mode="border", align_corners=False)
        return self.out(seen).unflatten(0, frames)
