"""Runs that differ in their seed alone: replicates of one training, which `compare` shows as one row."""

import statistics
from collections.abc import Sequence

from lightning_gen.evaluation.settings import Settings
from lightning_gen.evaluation.table import Cell

SEED = "seed"  # the key of the config


def groups_of(settings: Sequence[Settings]) -> list[list[int]]:
    """The indices of runs that are replicates of each other, in the order of the first of each.

    A run without settings is alone, and so is one whose seed another one of its group has.
    """
    groups: dict[str, list[int]] = {}
    for index, found in enumerate(settings):
        rest = {key: value for key, value in found.items() if key != SEED}
        group = groups.setdefault(repr(sorted(rest.items())), [])
        if not rest or found.get(SEED) in [settings[other].get(SEED) for other in group]:
            group = groups[f"run {index}"] = []
        group.append(index)
    return [group for group in groups.values() if group]


def group_name(names: Sequence[str]) -> str:
    """The name of a row of these runs."""
    return names[0] if len(names) == 1 else f"{names[0]} ({len(names)} seeds)"


def mean_cell(cells: Sequence[Cell | None]) -> Cell | None:
    """The mean of a score over trainings with their standard deviation; the cell itself of a single run."""
    found = [cell for cell in cells if cell is not None]
    if len(found) < 2:
        return found[0] if found else None
    values = [cell.value for cell in found]
    return Cell(statistics.fmean(values), statistics.stdev(values), trainings=len(values))
