"""Draws a set of colored pictures to try models on: `python scripts/draw_pictures.py OUT [n=2400] [size=64] [seed=0]`.

OUT gets the folders faces, fish, flowers and houses, each a class, with PNG files of `size` pixels: shapes that are
recognizable at 32 pixels, in colors, places, sizes and on backgrounds that vary. The same arguments give the same
pictures. OUT must not exist, or be empty.
"""

import os
import sys
from collections.abc import Callable
from colorsys import hsv_to_rgb
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

SMOOTHING = 4  # pixels drawn along each side of a pixel, then averaged: smooth edges
DEFAULTS = {"n": 2400, "size": 64, "seed": 0}

Color = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """A picture to draw on, in coordinates of the shape: its center is (0, 0), and it reaches to about 1."""

    def __init__(self, size: int, random: Random, background: tuple[Color, Color]):
        side = size * SMOOTHING
        self.image = gradient(side, *background)
        self.draw = ImageDraw.Draw(self.image)
        self.scale = side * random.uniform(0.27, 0.4)
        room = 0.5 - self.scale / side  # so that the shape stays within the picture
        self.x, self.y = (side * (0.5 + random.uniform(-room, room)) for _ in range(2))
        self.mirror = random.choice([-1, 1])

    def point(self, x: float, y: float) -> Point:
        """The pixel at a point of the shape."""
        return self.x + self.mirror * x * self.scale, self.y + y * self.scale

    def ellipse(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """An ellipse around (x, y) with half axes `width` and `height`."""
        self.draw.ellipse(self._box(x, y, width, height), fill=color)

    def arc(self, x: float, y: float, width: float, height: float, angles: Point, color: Color) -> None:
        """A part of the outline of an ellipse, between angles in degrees, clockwise from the right."""
        self.draw.arc(self._box(x, y, width, height), *angles, fill=color, width=round(0.12 * self.scale))

    def polygon(self, points: list[Point], color: Color) -> None:
        """A filled polygon."""
        self.draw.polygon([self.point(*point) for point in points], fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """A filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def ground(self, top: float, color: Color) -> None:
        """All below `top`."""
        self.draw.rectangle((0, self.point(0, top)[1], *self.image.size), fill=color)

    def _box(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        x, y = self.point(x, y)
        return x - width * self.scale, y - height * self.scale, x + width * self.scale, y + height * self.scale


def gradient(side: int, top: Color, bottom: Color) -> Image.Image:
    """A square that changes from one color to another."""
    shares = Image.linear_gradient("L").resize((side, side))
    return Image.composite(Image.new("RGB", (side, side), bottom), Image.new("RGB", (side, side), top), shares)


def color(random: Random, hue: Point = (0, 1), saturation: Point = (0.6, 1), value: Point = (0.7, 1)) -> Color:
    """A random color, each of hue, saturation and value (brightness) from its range."""
    red, green, blue = hsv_to_rgb(*(random.uniform(*limits) for limits in (hue, saturation, value)))
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(color: Color, factor: float = 0.6) -> Color:
    """The color, darker or brighter by a factor."""
    red, green, blue = (min(255, round(factor * part)) for part in color)
    return red, green, blue


def face(size: int, random: Random) -> Canvas:
    """A face with eyes, a mouth that smiles or not, and hair."""
    backdrop = color(random, saturation=(0.15, 0.5), value=(0.75, 1))
    canvas = Canvas(size, random, (backdrop, shade(backdrop, 0.8)))
    skin = color(random, hue=(0.05, 0.1), saturation=(0.3, 0.65), value=(0.55, 1))
    hair, dark = color(random, value=(0.2, 0.9)), (40, 25, 25)
    canvas.ellipse(0, -0.18, 0.86, 0.82, hair)
    canvas.ellipse(0, 0.08, 0.74, 0.86, skin)
    for side in (-0.3, 0.3):
        canvas.ellipse(side, -0.08, 0.17, 0.15, (255, 255, 255))
        canvas.ellipse(side, -0.07, 0.09, 0.11, dark)
    mouth = random.uniform(0.1, 0.25)
    if random.random() < 0.7:
        canvas.arc(0, 0.4, 0.32, mouth, (10, 170), (170, 30, 40))
    else:
        canvas.ellipse(0, 0.5, 0.2, mouth, (150, 30, 40))
    return canvas


def fish(size: int, random: Random) -> Canvas:
    """A fish in water, with stripes, a tail and bubbles."""
    water = color(random, hue=(0.47, 0.63), saturation=(0.4, 0.9), value=(0.6, 1))
    canvas = Canvas(size, random, (water, shade(water)))
    body = color(random, hue=(-0.12, 0.2))
    fins, high = shade(body, 0.75), random.uniform(0.4, 0.62)
    canvas.polygon([(-0.45, 0), (-1, -0.55), (-0.85, 0), (-1, 0.55)], fins)
    canvas.polygon([(-0.3, -0.3), (0.05, -0.35 - high), (0.4, -0.3)], fins)
    canvas.ellipse(0.15, 0, 0.8, high, body)
    if random.random() < 0.6:
        for x in (-0.2, 0.12):
            canvas.box(x, -0.8 * high, x + 0.15, 0.8 * high, (255, 255, 255))
    canvas.ellipse(0.6, -0.12, 0.15, 0.15, (255, 255, 255))
    canvas.ellipse(0.64, -0.12, 0.08, 0.08, (20, 20, 30))
    for _ in range(random.randrange(4)):
        radius = random.uniform(0.06, 0.12)
        canvas.ellipse(random.uniform(0.5, 1), random.uniform(-1.1, -0.6), radius, radius, (225, 245, 255))
    return canvas


def flower(size: int, random: Random) -> Canvas:
    """A flower with a stem and leaves on a meadow, or against the sky."""
    sky = color(random, hue=(0.15, 0.6), saturation=(0.08, 0.35), value=(0.85, 1))
    canvas = Canvas(size, random, (sky, color(random, hue=(0.2, 0.4), saturation=(0.3, 0.7), value=(0.6, 0.95))))
    petals, green = color(random, hue=(0.7, 1.15)), color(random, hue=(0.28, 0.4), value=(0.3, 0.6))
    canvas.box(-0.06, 0, 0.06, 1.1, green)
    canvas.polygon([(0, 0.85), (0.5, 0.45), (0.35, 0.8)], green)
    canvas.polygon([(0, 0.95), (-0.5, 0.6), (-0.3, 0.95)], green)
    number, turn = random.choice([5, 6, 8]), random.uniform(0, 1)
    for petal in range(number):
        x, y = around(0.42, (petal + turn) / number)
        canvas.ellipse(x, y - 0.3, 0.27, 0.27, petals)
    canvas.ellipse(0, -0.3, 0.25, 0.25, color(random, hue=(0.1, 0.16)))
    return canvas


def around(radius: float, turns: float) -> Point:
    """A point on a circle."""
    unit = complex(radius) * complex(-1) ** (2 * turns)
    return unit.real, unit.imag


def house(size: int, random: Random) -> Canvas:
    """A house on the grass, with a roof, a door and windows, by day or night."""
    night = random.random() < 0.25
    sky = color(random, hue=(0.54, 0.68), saturation=(0.2, 0.6), value=(0.2, 0.4) if night else (0.85, 1))
    canvas = Canvas(size, random, (sky, shade(sky, 1.2)))
    grass = color(random, hue=(0.2, 0.38), saturation=(0.5, 0.9), value=(0.25, 0.4) if night else (0.5, 0.85))
    walls, roof = color(random, saturation=(0.1, 0.7)), color(random, hue=(-0.05, 0.08), value=(0.4, 0.85))
    glass = (255, 225, 110) if night else (90, 130, 180)
    canvas.ground(0.75, grass)
    if random.random() < 0.5:
        canvas.box(0.35, -0.95, 0.58, -0.3, shade(roof))
    canvas.box(-0.75, -0.2, 0.75, 0.9, walls)
    canvas.polygon([(-0.98, -0.15), (0, -1), (0.98, -0.15)], roof)
    canvas.box(-0.2, 0.3, 0.15, 0.9, shade(roof, 0.7))
    for x in (-0.6, 0.3):
        canvas.box(x, 0.05, x + 0.3, 0.4, glass)
    return canvas


CLASSES: dict[str, Callable[[int, Random], Canvas]] = {
    "faces": face,
    "fish": fish,
    "flowers": flower,
    "houses": house,
}


def picture(name: str, number: int, size: int, seed: int) -> Image.Image:
    """Picture `number` of class `name`, the same whatever else is drawn."""
    canvas = CLASSES[name](size, Random(f"{seed} {name} {number}"))
    return canvas.image.resize((size, size), Image.Resampling.BOX)


def draw_all(out: Path, n: int, size: int, seed: int) -> None:
    """Draw `n` pictures in all into `out`, which appears when they are complete."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SystemExit(f"{out}: is there already; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent) as temporary:
        for name in CLASSES:
            Path(temporary, "all", name).mkdir(parents=True)
        for index in range(n):
            name, number = [*CLASSES][index % len(CLASSES)], index // len(CLASSES)
            picture(name, number, size, seed).save(Path(temporary, "all", name, f"{number:05}.png"))
        os.replace(Path(temporary, "all"), out)
    print(f"{n} pictures of {size} pixels in {out}")


def main(arguments: list[str]) -> None:
    """Read the command line and draw."""
    if {"-h", "--help"} & set(arguments):
        raise SystemExit(__doc__)
    folders = [argument for argument in arguments if "=" not in argument]
    values = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    for name, value in values.items():
        if name not in DEFAULTS or not value.isdecimal() or (name != "seed" and int(value) < 1):
            raise SystemExit(f"{name}={value}: give n=NUMBER, size=PIXELS or seed=NUMBER")
    if len(folders) != 1:
        raise SystemExit("usage: python scripts/draw_pictures.py OUT [n=2400] [size=64] [seed=0]")
    draw_all(Path(folders[0]), **DEFAULTS | {name: int(value) for name, value in values.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
