"""The table of runs: which of them, in which order, and what is shown of each."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from lightning_gen.errors import UserError
from lightning_gen.report.pictures import series_files
from lightning_gen.runs.record import Run
from lightning_gen.runs.selection import condition, ordered, score_name, scores_named, selected, shown
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.view.library import Library

SHOWN_SCORES = 3
MOST_ROWS = 1_000
DESCENDING = "-"  # before the key of a column: turned round


@dataclass(frozen=True)
class Row:
    """A run as it is shown; `picture` is its newest samples, `checkpoint` its best one, by name, or empty."""

    address: str
    title: str
    state: str
    model: str
    data: str
    images: str
    started: str
    size: str
    scores: list[str]
    picture: str
    checkpoint: str


@dataclass(frozen=True)
class RunTable:
    """Rows, with the names of their scores; `mistake` says what is wrong with the query, and `more` rows are hidden."""

    rows: list[Row] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)
    better: dict[str, str] = field(default_factory=dict)
    total: int = 0
    more: int = 0
    alive: int = 0
    mistake: str = ""


def run_table(library: Library, query: str, sort: str) -> RunTable:
    """The runs that fulfill `query`, in the language of `lightning-gen runs`, by the column `sort`."""
    runs = library.runs()
    try:
        found = matching(list(runs.values()), query, library)
        found = _sorted(found, sort) if sort and found else found
    except UserError as error:
        return RunTable(total=len(runs), mistake=str(error))
    scores = shown_scores(found, scores_named(found, [*_keys(query), sort.removeprefix(DESCENDING)]))
    addresses = {run: name for name, run in runs.items()}
    kept = found[:MOST_ROWS]
    return RunTable(
        rows=[_row(addresses[run], run, scores, library) for run in kept],
        scores=scores,
        better={name: way for run in kept for name, way in run.better.items()},
        total=len(runs),
        more=len(found) - len(kept),
        alive=sum(run.state == "running" for run in found),
    )


def shown_scores(runs: Sequence[Run], asked: Sequence[str] = ()) -> list[str]:
    """The first score of each metric, those that most runs have first; before them what is asked for and not there."""
    counts: dict[str, int] = {}
    for run in runs:
        for name in _first_of_metrics(run):
            counts[name] = counts.get(name, 0) + 1
    usual = sorted(counts, key=lambda name: -counts[name])[:SHOWN_SCORES]
    return [*(name for name in asked if name not in usual), *usual]


def _first_of_metrics(run: Run) -> list[str]:
    found: dict[object, str] = {}
    for entry in run.evaluations:
        origins = entry.get("origin")
        for name in entry["scores"]:
            origin = origins.get(name) if isinstance(origins, dict) else None
            metric = origin.get("metric") if isinstance(origin, dict) else None
            if name in run.scores:
                found.setdefault(str(metric or name), name)
    return list(found.values())


def _keys(query: str) -> list[str]:
    """The keys of the conditions in a query that has been read."""
    return [wanted.key for wanted in map(condition, shlex.split(query)) if wanted]


def matching(runs: Sequence[Run], query: str, library: Library) -> list[Run]:
    """The runs that fulfill the conditions in `query`; any other word is a part of a run's name, model or data."""
    try:
        words = shlex.split(query)
    except ValueError:
        raise UserError(f"{query}: a quotation mark is missing") from None
    pairs = [(word, condition(word)) for word in words]
    found = selected(runs, [wanted for _, wanted in pairs if wanted is not None])
    parts = [word.lower() for word, wanted in pairs if wanted is None]
    return [run for run in found if all(part in _words(run, library) for part in parts)]


def _words(run: Run, library: Library) -> str:
    return f"{library.title(run)} {run.model} {run.data} {run.state}".lower()


def _sorted(runs: list[Run], sort: str) -> list[Run]:
    key = sort.removeprefix(DESCENDING)
    found = ordered(runs, key)
    if not sort.startswith(DESCENDING):
        return found
    lacking = [run for run in found if _value(run, key) is None]
    return [*reversed(found[: len(found) - len(lacking)]), *lacking]


def _value(run: Run, key: str) -> object:
    """What a run is sorted by, None if it has none; of the columns alone."""
    return getattr(run, key, None) if score_name(run, key) is None else run.scores[score_name(run, key) or ""]


def _row(name: str, run: Run, scores: Sequence[str], library: Library) -> Row:
    return Row(
        address=name,
        title=library.title(run),
        state=run.state,
        model=run.model,
        data=run.data,
        images=f"{run.images:,}" if run.images else "-",
        started=run.started[:16].replace("T", " ") or "-",
        size=size_text(run.size),
        scores=[shown(run.scores.get(name)) for name in scores],
        picture=newest_picture(run),
        checkpoint=next(iter(library.checkpoints(run)), ""),
    )


def newest_picture(run: Run) -> str:
    """The name of the newest picture of samples of a run; empty if there is none."""
    return next((names[-1] for names in series_files(run.path).values()), "")
