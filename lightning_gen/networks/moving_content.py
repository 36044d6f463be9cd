"""Translation of content over time by a spatial transformer, https://arxiv.org/abs/1506.02025."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MovingContent(nn.Module):
    """Maps `(B, channels, H, W)` and motion codes `(B, T, motion_dim)` to frames `(B, T, out_channels, H, W)`.

    The first code gives the position of the maps, each later one a translation, with replicated borders. Two
    convolutions turn the translated maps into a frame.
    """

    def __init__(self, channels: int, out_channels: int, motion_dim: int):
        super().__init__()
        self.place = nn.Linear(motion_dim, 2)
        self.step = nn.Linear(motion_dim, 2, bias=False)
        with torch.no_grad():
            self.step.weight *= 0.2
        self.out = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )

    def forward(self, maps: Tensor, path: Tensor) -> Tensor:
        n, steps = path.shape[:2]
        first, later = path.tensor_split([1], dim=1)
        shift = torch.cat([self.place(first), self.step(later)], dim=1).float().cumsum(1)  # in half image sides
        identity = torch.eye(2, 3, device=maps.device).expand(1, 2, 3)
        grid = F.affine_grid(identity, [1, *maps.shape[1:]], align_corners=False) - shift.flatten(0, 1)[:, None, None]
        repeated = maps[:, None].expand(-1, steps, -1, -1, -1).flatten(0, 1)
        moved = F.grid_sample(repeated, grid.to(maps.dtype), padding_mode="border", align_corners=False)
        return self.out(moved).unflatten(0, (n, steps))
