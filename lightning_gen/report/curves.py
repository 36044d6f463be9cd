"""The curves of a run by `metrics.csv`, thinned out, so that the page stays small after any number of steps."""

import csv
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_gen.runs.files import inside

MOST_BYTES = 4 * 2**20  # of the file that are read: blocks of a larger one, evenly spaced
BLOCK = 2**16
MOST_CURVES = 120
MOST_POINTS, ALL_POINTS = 2_000, 40_000  # of a curve; of all curves together
# Of the machine and the optimizer, by their titles.
MACHINE = {"images_per_second": "images per second", "memory_gib": "peak memory, GiB", "learning_rate": "learning rate"}
X = "images"


@dataclass(frozen=True)
class Curve:
    """Values against images seen, or against the frames of a sequence."""

    name: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Chart:
    """Curves of one quantity."""

    title: str
    curves: list[Curve]
    axis: str = X
    of_machine: bool = False


def read_curves(folder: Path) -> dict[str, Curve]:
    """The finite values of every column of a run's metrics.csv, by its name; CSV errors for a damaged file."""
    path = inside(folder, "metrics.csv")
    if path is None:
        return {}
    rows = csv.reader(_lines(path))
    names = next(rows, [])
    if X not in names:
        return {}
    at, found = names.index(X), {name: Curve(name, [], []) for name in names[: MOST_CURVES + 1] if name != X}
    places = [(names.index(name), curve) for name, curve in found.items()]
    for row in rows:
        if len(row) != len(names) or (x := _number(row[at])) is None:
            continue
        for place, curve in places:
            if (y := _number(row[place])) is not None:
                curve.x.append(x)
                curve.y.append(y)
    return {name: curve for name, curve in found.items() if curve.x}


def _lines(path: Path) -> Iterator[str]:
    """The complete lines of a file; of a large one, those in blocks from its beginning to its end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield file.readline(BLOCK).decode(errors="replace")
        start = file.tell()
        if size <= MOST_BYTES:
            blocks = [file.read(MOST_BYTES)]
        else:
            count = MOST_BYTES // BLOCK
            starts = (start + n * (size - BLOCK - start) // (count - 1) for n in range(count))
            blocks = (_block(file, place, place > start) for place in starts)
        for block in blocks:
            yield from block.decode(errors="replace").split("\n")[:-1]  # the last one has no end, or is empty


def _block(file, place: int, cut: bool) -> bytes:
    file.seek(place)
    block = file.read(BLOCK)
    return block.partition(b"\n")[2] if cut else block


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def charts_of(curves: Sequence[Curve]) -> list[Chart]:
    """One chart for each quantity, with its values in training and in validation: the loss first, the machine last."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        match = re.fullmatch(r"(train|val)/(.+)", curve.name)
        if not curve.name.startswith("test/"):  # single values, which are among the scores
            title, name = (match[2], match[1]) if match else (curve.name, curve.name)
            groups.setdefault(title, []).append(Curve(name, curve.x, curve.y))
    most = min(MOST_POINTS, ALL_POINTS // max(1, len(curves)))
    charts = [
        Chart(
            MACHINE.get(title, title.replace("_", " ")),
            [thinned(curve, most) for curve in sorted(group, key=lambda curve: curve.name)],  # training first
            of_machine=title in MACHINE,
        )
        for title, group in groups.items()
    ]
    return sorted(charts, key=_rank)


def _rank(chart: Chart) -> tuple[bool, bool, int]:
    return chart.of_machine, chart.title != "loss", -len(chart.curves)


def thinned(curve: Curve, most: int) -> Curve:
    """At most `most` points: of each of equal stretches the least and the greatest value, and the first and the last.

    Peaks stay, unlike in means and in every n-th point.
    """
    count, stretches = len(curve.x), max(1, (most - 2) // 2)
    kept = set(range(count))
    if count > most:
        kept = {0, count - 1}
        for n in range(stretches):
            stretch = range(n * count // stretches, (n + 1) * count // stretches)
            kept |= {min(stretch, key=curve.y.__getitem__), max(stretch, key=curve.y.__getitem__)}
    order = sorted(kept)
    return Curve(curve.name, [_short(curve.x[n]) for n in order], [float(f"{curve.y[n]:.5g}") for n in order])


def _short(x: float) -> float:
    return int(x) if x == int(x) else x


def hours_of(speed: Curve) -> float:
    """Hours of training by the speed in images per second against images seen."""
    before = [0.0, *speed.x[:-1]]
    return sum(max(0.0, x - y) / v for x, y, v in zip(speed.x, before, speed.y, strict=True) if v > 0) / 3_600
