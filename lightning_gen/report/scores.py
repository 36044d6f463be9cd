"""The scores of a run by `evaluation.json`, each with its uncertainty, its direction and its protocol."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lightning_gen.evaluation.report import are_evaluations, summary, with_error
from lightning_gen.evaluation.result import Evaluation, Table
from lightning_gen.report.curves import Chart, Curve, thinned
from lightning_gen.report.pictures import Picture, read_picture, readable
from lightning_gen.report.settings import brief, flat
from lightning_gen.runs.files import json_of
from lightning_gen.runs.record import SCORES, variant_of

MOST_BYTES = 8 * 2**20
MOST_EVALUATIONS = 8  # the newest
MOST_ROWS, MOST_COLUMNS, MOST_LINES = 200, 30, 50
MOST_PICTURES = 8
MOST_TEXT = 2_000  # characters of a warning
MOST_POINTS = 500  # of a curve, such as the scores of each frame


@dataclass(frozen=True)
class ScoreRow:
    """A score as text; `better` is lower or higher."""

    name: str
    metric: str
    value: str
    better: str
    over: str  # what varies
    real_against_real: str


@dataclass(frozen=True)
class Scoring:
    """An evaluation, ready to be shown."""

    summary: str
    time: str
    source: str
    rows: list[ScoreRow]
    tables: dict[str, list[list[str]]]  # lines of cells, the first one of heads
    charts: list[Chart]
    pictures: list[Picture]
    skipped: dict[str, str]
    warnings: list[str]
    protocol: dict[str, str]
    images_seen: int

    @property
    def headline(self) -> list[ScoreRow]:
        """The first score of each metric, at most four."""
        first = {row.metric: row for row in reversed(self.rows)}
        return list(islice((row for row in self.rows if first[row.metric] is row), 4))


def read_scores(folder: Path) -> list[Scoring]:
    """The evaluations of a run, the newest first, last those of samples drawn otherwise than in training.

    ValueError, TypeError, ... for a file that holds something else.
    """
    entries = json_of(folder, SCORES, MOST_BYTES)
    if entries is None:
        return []
    if not are_evaluations(entries):
        raise ValueError("holds something other than evaluations")
    newest = list(reversed([entry for entry in entries if "origin" in entry][-MOST_EVALUATIONS:]))
    return [_scoring(folder, entry) for entry in sorted(newest, key=lambda entry: bool(variant_of(entry["protocol"])))]


def _scoring(folder: Path, entry: dict[str, Any]) -> Scoring:
    evaluation = Evaluation.from_json(entry)
    return Scoring(
        summary(evaluation),
        brief(evaluation.time),
        ", ".join(map(str, evaluation.source.values())),
        list(islice(_rows(evaluation), MOST_ROWS)),
        {readable(name): _lines(table) for name, table in islice(evaluation.tables.items(), 8)},
        [_chart(name, values) for name, values in islice(evaluation.curves.items(), 24)],
        _pictures(folder, entry.get("pictures", {})),
        {name: brief(reason) for name, reason in islice(evaluation.skipped.items(), MOST_LINES)},
        [f"{warning}"[:MOST_TEXT] for warning in evaluation.warnings[:MOST_LINES]],
        {key: brief(value) for key, value in islice(flat(evaluation.protocol.to_json()), MOST_ROWS)},
        int(evaluation.protocol.images_seen or 0),
    )


def _rows(evaluation: Evaluation) -> Iterator[ScoreRow]:
    for name, score in evaluation.scores.items():
        value = with_error(score.value, score.uncertainty.std if score.uncertainty else None, ".5g")
        floor = evaluation.real_against_real.get(name)
        real = with_error(floor.value, floor.uncertainty.std, ".2g") if floor else ""
        over = score.uncertainty.over if score.uncertainty and "±" in value else ""
        yield ScoreRow(name, brief(score.origin.metric), value, brief(score.direction), brief(over), real)


def _lines(table: Table) -> list[list[str]]:
    """The cells of a table of columns, line by line."""
    columns = [[brief(head), *map(_cell, values[:MOST_ROWS])] for head, values in islice(table.items(), MOST_COLUMNS)]
    return [list(line) for line in zip(*columns, strict=False)]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else brief(value)


def _chart(name: str, values: list[float]) -> Chart:
    title = name.replace("_", " ")
    finite = [(n, value) for n, value in enumerate(values, 1) if abs(value) < float("inf")]
    curve = Curve(title, [float(n) for n, _ in finite], [float(value) for _, value in finite])
    return Chart(title, [thinned(curve, MOST_POINTS)], axis="number")


def _pictures(folder: Path, names: Mapping[str, Any]) -> list[Picture]:
    found = [read_picture(folder, str(file), readable(name)) for name, file in islice(names.items(), MOST_PICTURES)]
    return [picture for picture in found if picture]
