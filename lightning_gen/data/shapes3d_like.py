"""A shape in a room with six known factors, after 3D Shapes, https://github.com/google-deepmind/3d-shapes.

Drawn by us: the factors, their numbers of levels and their order are those of the published images, the scene not.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.factors import FactorData

SHAPES = ("cube", "cylinder", "sphere", "capsule")
SIZES = (0.55, 1.0)  # half of the heights of the smallest and the largest shape
ROOM = 3.0  # from the middle of the floor to each wall
DISTANCE, HEIGHT, DOWN, FIELD = 5.5, 2.6, 0.32, 0.5  # of the camera: place, inclination (rad), tangent of half its view
TURN = math.pi / 6  # of the camera around the room, to either side
LIGHT = (-0.35, -0.55, 0.76)  # direction to it, as the camera turns
AMBIENT = 0.4


@dataclass(kw_only=True, eq=False, repr=False)
class Shapes3DLike(FactorData):
    """`size` pixels a side; `levels` are of the hues of floor, wall and object, scale, shape and orientation."""

    name = "shapes3d_like"
    factor_names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    label_names = SHAPES

    size: PositiveInt

    def scene(self) -> "Room":
        """What draws the shapes."""
        return Room.of(self.size, tuple(self.levels))


class Room(NamedTuple):
    """Of each shape, scale and orientation what a pixel shows (floor, wall, object), and its brightness: `(G, S, S)`.

    Hues are painted on that: `hues` are the colors of the levels of each, `(3, levels, 3)`.
    """

    sizes: tuple[int, ...]
    shown: Tensor
    brightness: Tensor
    hues: Tensor

    @classmethod
    def of(cls, size: int, sizes: tuple[int, ...]) -> Self:
        """The room of images of `size` pixels a side."""
        *hues, scales, shapes, turns = sizes
        origin, direction = _rays(size, turns)
        radii = torch.linspace(*SIZES, scales)[:, None, None, None]
        hits = [_visible(SHAPES[shape], origin, direction, radii) for shape in range(shapes)]
        shown, brightness = (torch.stack(part).flatten(0, 2) for part in zip(*hits, strict=True))
        most = max(hues)
        colors = torch.stack([F.pad(_colors(n), (0, 0, 0, most - n)) for n in hues])
        return cls(sizes, shown.to(torch.uint8), (255 * brightness).to(torch.uint8), colors)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        _, height, width = self.shown.shape
        return 3, height, width

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return self._replace(**{name: getattr(self, name).to(device) for name in ("shown", "brightness", "hues")})

    def render(self, levels: Tensor) -> Tensor:
        """Levels `(B, 6)` to uint8 `(B, 3, S, S)`."""
        scale, shape, turn = levels[:, 3:].T
        place = (shape * self.sizes[3] + scale) * self.sizes[5] + turn
        parts = torch.arange(3, device=levels.device)
        colors = self.hues[parts, levels[:, :3]]  # (B, 3 parts, 3)
        shown = self.shown[place].long().flatten(1)[..., None].expand(-1, -1, 3)
        painted = colors.gather(1, shown) * self.brightness[place].flatten(1)[..., None]
        return painted.mT.reshape(-1, *self.image_shape).round().to(torch.uint8)


def _colors(levels: int) -> Tensor:
    """Equally spaced hues as RGB in [0, 1], `(levels, 3)`."""
    hue = torch.arange(levels)[:, None] / levels
    return ((hue * 6 + torch.tensor([0.0, 4.0, 2.0])).remainder(6) - 3).abs().sub(1).clamp(0, 1)


def _rays(size: int, turns: int) -> tuple[Tensor, Tensor]:
    """The camera `(turns, 1, 1, 3)` and unit vectors through the pixels `(turns, S, S, 3)`, z upwards."""
    angle = torch.linspace(-TURN, TURN, turns)
    side = ((torch.arange(size) + 0.5) * 2 / size - 1) * FIELD
    right, up = side.expand(size, size), -side[:, None].expand(size, size)
    forward, z = math.cos(DOWN) + up * math.sin(DOWN), up * math.cos(DOWN) - math.sin(DOWN)
    rays = _turned(F.normalize(torch.stack([right, forward, z], 2), dim=2)[None], angle)
    return _turned(torch.tensor([0.0, -DISTANCE, HEIGHT]).view(1, 1, 1, 3), angle), rays


def _turned(vectors: Tensor, angle: Tensor) -> Tensor:
    """Vectors `(1, h, w, 3)` turned around the z axis by each angle."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y, z = vectors.unbind(3)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z.expand(len(angle), -1, -1)], 3)


def _visible(shape: str, origin: Tensor, direction: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """What is hit first (0 floor, 1 wall, 2 object) and its brightness, `(scales, turns, S, S)`."""
    background, of_room = _room(origin, direction)
    light = _turned(F.normalize(torch.tensor(LIGHT), dim=0).view(1, 1, 1, 3), torch.linspace(-TURN, TURN, len(origin)))
    distance, normal = PRIMITIVES[shape](origin, direction, radius)
    of_object = AMBIENT + (1 - AMBIENT) * (normal * light).sum(-1).clamp(min=0)
    is_object = distance.isfinite()
    return torch.where(is_object, 2, background), torch.where(is_object, of_object, of_room)


def _room(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Floor (0) or wall (1), and the brightness, which differs between walls, `(turns, S, S)`."""
    walls = (ROOM * direction[..., :2].sign() - origin[..., :2]) / direction[..., :2]
    floor = -origin[..., 2] / direction[..., 2].clamp(max=-1e-6)
    nearest = torch.stack([floor, *walls.unbind(-1)]).argmin(0)
    return (nearest > 0).long(), torch.tensor([0.9, 0.65, 0.8])[nearest]


# Distances along rays to a shape that stands on the floor, inf where it is missed, and the normals of its surface.

Hit = tuple[Tensor, Tensor]


def _first(hits: list[Hit]) -> Hit:
    distances, normals = (torch.stack(torch.broadcast_tensors(*part)) for part in zip(*hits, strict=True))
    nearest = distances.argmin(0, keepdim=True)
    return distances.gather(0, nearest)[0], normals.gather(0, nearest[..., None].expand_as(normals[:1]))[0]


def _sphere(origin: Tensor, direction: Tensor, radius: Tensor, height: Tensor | None = None) -> Hit:
    center = F.pad((radius if height is None else height)[..., None], (2, 0))
    offset = origin - center
    along = (offset * direction).sum(-1)
    inside = along.square() - offset.square().sum(-1) + radius.square()
    distance = torch.where(inside > 0, -along - inside.clamp(min=0).sqrt(), math.inf)
    return distance, (offset + _finite(distance) * direction) / radius[..., None]


def _cube(origin: Tensor, direction: Tensor, radius: Tensor) -> Hit:
    half = 0.8 * radius[..., None]
    offset = origin - F.pad(half, (2, 0))
    near = (-half * direction.sign() - offset) / direction
    far = (half * direction.sign() - offset) / direction
    distance, axis = near.max(-1)
    normal = -F.one_hot(axis, 3) * direction.sign()
    return torch.where(distance < far.amin(-1), distance, math.inf), normal


def _cylinder(origin: Tensor, direction: Tensor, radius: Tensor) -> Hit:
    return _tube(origin, direction, 0.8 * radius, torch.zeros_like(radius), 1.6 * radius)


def _capsule(origin: Tensor, direction: Tensor, radius: Tensor) -> Hit:
    thick = 0.55 * radius
    ends = [_sphere(origin, direction, thick, height) for height in (thick, 2 * radius - thick)]
    return _first([_tube(origin, direction, thick, thick, 2 * radius - thick), *ends])


def _tube(origin: Tensor, direction: Tensor, radius: Tensor, low: Tensor, high: Tensor) -> Hit:
    """A cylinder from `low` to `high` and its upper end."""
    flat, start = direction[..., :2], origin[..., :2]
    square = flat.square().sum(-1)
    along = (start * flat).sum(-1)
    inside = along.square() - square * (start.square().sum(-1) - radius.square())
    distance = torch.where(inside > 0, (-along - inside.clamp(min=0).sqrt()) / square, math.inf)
    point = origin + _finite(distance) * direction
    side = torch.where((point[..., 2] > low) & (point[..., 2] < high), distance, math.inf)
    top = (high - origin[..., 2]) / direction[..., 2]
    on_top = (start + top[..., None] * flat).square().sum(-1) < radius.square()
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(point)
    outwards = F.pad(point[..., :2] / radius[..., None], (0, 1))
    return _first([(side, outwards), (torch.where(on_top & (top > 0), top, math.inf), up)])


def _finite(distance: Tensor) -> Tensor:
    return distance.nan_to_num(posinf=0)[..., None]


PRIMITIVES = {"cube": _cube, "cylinder": _cylinder, "sphere": _sphere, "capsule": _capsule}
