"""Runs that differ in their seed alone: replicates of one training, which `compare` shows as one row."""

import statistics
from collections.abc import Mapping, Sequence

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


def group_names(names: Sequence[Sequence[str]], settings: Mapping[str, Sequence[str]]) -> list[str]:
    """The names of rows by those of their runs; one of several runs is named by what tells it from others of them.

    `settings` are the values of the rows by key; as few of the first keys are taken as do.
    """
    rows = list(zip(*settings.values(), strict=True)) or [()] * len(names)
    several = [row for row, runs in zip(rows, names, strict=True) if len(runs) > 1]
    enough = next((n for n in range(1, len(settings)) if len({row[:n] for row in several}) == len(several)), None)
    told = [[f"{key}={value}" for key, value in zip(settings, row, strict=False) if value != "-"] for row in rows]
    return [
        runs[0] if len(runs) == 1 else _of_seeds(len(runs), row[:enough]) for runs, row in zip(names, told, strict=True)
    ]


def _of_seeds(count: int, told: Sequence[str]) -> str:
    """`model=vae lr=0.1 (3 seeds)`."""
    return f"{' '.join(told)} ({count} seeds)" if told else f"{count} seeds"


def mean_cell(cells: Sequence[Cell | None]) -> Cell | None:
    """The mean of a score over trainings with their standard deviation; the cell itself of a single run."""
    found = [cell for cell in cells if cell is not None]
    if len(found) < 2:
        return found[0] if found else None
    values = [cell.value for cell in found]
    return Cell(statistics.fmean(values), statistics.stdev(values), trainings=len(values))
