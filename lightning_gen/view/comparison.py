"""Several runs side by side: pictures of the same noise, curves, scores, and the keys in which their configs differ."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_gen.errors import UserError
from lightning_gen.evaluation.settings import all_differences
from lightning_gen.report.curves import MACHINE, Chart, Curve, charts_of, read_curves
from lightning_gen.report.pictures import images_at, readable, series_files
from lightning_gen.report.settings import brief
from lightning_gen.runs.record import Run

if TYPE_CHECKING:
    from lightning_gen.evaluation.table import Cell

MOST_RUNS = 6
MOST_STEPS = 200  # of a series


@dataclass(frozen=True)
class Pictures:
    """A series of pictures: for each run the names of its files by images seen, at `steps` of any run."""

    title: str
    steps: list[int]
    files: list[dict[int, str]]


@dataclass(frozen=True)
class Scores:
    """Lines of a table of scores; `notes` say which of them may be compared."""

    heads: list[str]
    lines: list[list[str]]
    notes: list[str]


def pictures_of(runs: Sequence[Run]) -> list[Pictures]:
    """The series that at least one run has, those of all runs first."""
    found = [series_files(run.path) for run in runs]
    names = list(dict.fromkeys(name for series in found for name in series))
    names.sort(key=lambda name: sum(name not in series for series in found))
    return [_pictures(name, [series.get(name, []) for series in found]) for name in names]


def _pictures(name: str, files: Sequence[Sequence[str]]) -> Pictures:
    by_images = [{images_at(file): file for file in each} for each in files]
    steps = sorted({step for each in by_images for step in each})
    kept = steps if len(steps) <= MOST_STEPS else [*steps[:: len(steps) // MOST_STEPS + 1], steps[-1]]
    return Pictures(readable(name), kept, by_images)


def overlaid(runs: Sequence[Run], titles: Sequence[str]) -> list[Chart]:
    """A chart for each quantity that several runs have, in training and in validation, with a curve for each run."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    of_machine = set()
    for run, title in zip(runs, titles, strict=True):
        for chart in charts_of(list(_curves(run.path).values())):
            for curve in chart.curves:
                part = curve.name if curve.name in ("train", "val") else ""
                groups.setdefault((chart.title, part), []).append(Curve(title, curve.x, curve.y))
                of_machine |= {chart.title} if chart.of_machine else set()
    shared = {key: curves for key, curves in groups.items() if len(curves) > 1 or len(runs) == 1}
    return [
        Chart(f"{title}, {'validation' if part == 'val' else 'training'}" if part else title, curves)
        for (title, part), curves in sorted(shared.items(), key=lambda item: _rank(*item[0]))
    ]


def _curves(folder: Path) -> dict[str, Curve]:
    try:
        return read_curves(folder)
    except (OSError, ValueError, csv.Error):
        return {}


def _rank(title: str, part: str) -> tuple[bool, bool, bool]:
    """The loss first, validation before training, the machine last."""
    return title in MACHINE.values(), title != "loss", part == "train"


def differences(runs: Sequence[Run]) -> tuple[list[list[str]], str]:
    """Lines of keys with their values in each run; and why there are none, if a config can't be read."""
    try:
        found = all_differences(*(run.path for run in runs))
    except (UserError, AttributeError, RecursionError) as error:
        return [], str(error)
    return [[key, *map(brief, values)] for key, values in found.items()], ""


def scores(runs: Sequence[Run], titles: Sequence[str]) -> Scores | None:
    """The scores that `lightning-gen compare` ranks, a line for each; None where no run has any."""
    from lightning_gen.evaluation.comparison import columns_of, compare, read_runs
    from lightning_gen.evaluation.table import ARROWS

    scored = [(run, title) for run, title in zip(runs, titles, strict=True) if run.scores]
    if not scored:
        return None
    try:
        read = read_runs([run.path for run, _ in scored])
        for each, (_, title) in zip(read, scored, strict=True):
            each.name = title
        table = compare(read, columns_of("", read), None, force=False, group=False)
    except UserError as error:
        return Scores([], [], [str(error)])
    lines = [[f"{name} {ARROWS[table.directions[name]]}", *map(_cell, cells)] for name, cells in table.cells.items()]
    return Scores(["Score", *table.runs], lines, table.notes)


def _cell(cell: "Cell | None") -> str:
    if cell is None:
        return "-"
    return f"{cell}{' *' if cell.mark == 'best' else ' ~' if cell.mark == 'noise' else ''}"
