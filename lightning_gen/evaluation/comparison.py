"""`lightning-gen compare`: the scores of several runs in one table; only scores of equal protocols are ranked."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.config.signatures import fits
from lightning_gen.errors import UserError
from lightning_gen.evaluation.replicates import SEED, group_names, groups_of, mean_cell
from lightning_gen.evaluation.report import are_evaluations
from lightning_gen.evaluation.result import SEEDS, Direction, Evaluation, Score
from lightning_gen.evaluation.settings import Settings, differing, read_settings
from lightning_gen.evaluation.table import STANDARD_ERRORS, Cell, Table
from lightning_gen.runs.selection import names_score
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen.utilities.text_lists import listed

# Entries of the protocol that scores depend on, beside the settings of their metric and extractor.
SHARED_KEYS = ["data", "split", "binarize", "n_real"]
SAMPLE_KEYS = ["n_fake", "resized"]

Selection = list[Evaluation | None]  # by run; None: it lacks the score


@dataclass
class RunScores:
    """The evaluations of a run, newest last."""

    name: str
    evaluations: list[Evaluation] = field(repr=False)
    settings: Settings = field(default_factory=dict, repr=False)

    def by_protocol(self, score: str) -> dict[str, Evaluation]:
        """The newest evaluation with a value of the score, for each protocol."""
        valid = [e for e in self.evaluations if score in e.scores and not math.isnan(e.scores[score].value)]
        return {protocol_of(evaluation, score): evaluation for evaluation in valid}


def read_runs(paths: list[Path]) -> list[RunScores]:
    """The runs in these folders or files, named by the part of their paths that differs.

    Each other way to sample than in training, such as a `prior` or a `temperature`, is a run of its own.
    """
    names = _short_names([path.parent if path.name == "evaluation.json" else path for path in paths])
    return [run for name, path in zip(names, paths, strict=True) for run in _variants(name, path)]


def _variants(name: str, path: Path) -> Iterator[RunScores]:
    evaluations, settings = _read(path), read_settings(path)
    variants: list[dict[str, Any]] = []
    for evaluation in evaluations:
        if evaluation.variant not in variants:
            variants.append(evaluation.variant)
    for variant in variants or [{}]:
        told = " ".join([name, *(f"{key}={value}" for key, value in variant.items())])
        yield RunScores(told, [each for each in evaluations if each.variant == variant], settings | variant)


def _short_names(paths: list[Path]) -> list[str]:
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path in paths if parts.count(path.absolute().parts) > 1)
        raise UserError(f"compare {twice}: is named twice")
    if len(parts) == 1:
        return [parts[0][-1]]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return ["/".join(p[shared:]) for p in parts]


def _read(path: Path) -> list[Evaluation]:
    file = path / "evaluation.json" if path.is_dir() else path
    if not file.is_file():
        problem = "a folder without evaluation.json" if path.is_dir() else "no such file or folder"
        raise UserError(f"compare {path}: {problem}; score a run with lightning-gen evaluate checkpoint={path}")
    try:
        entries = json.loads(file.read_text())
        if not are_evaluations(entries):
            raise ValueError
        # Early versions wrote no origins, without which protocols can't be compared.
        evaluations = [Evaluation.from_json(entry) for entry in entries if "origin" in entry]
        for evaluation in evaluations:
            _check_types(evaluation)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        fix = "name the folder of a run, or the file that lightning-gen evaluate wrote"
        raise UserError(f"compare {path}: {file.name} holds something other than evaluations; {fix}") from None
    return evaluations


def _check_types(evaluation: Evaluation) -> None:
    """TypeError or KeyError for values of other types than those that a comparison reads."""
    scores = evaluation.scores.values()
    uncertain = [score.uncertainty for score in scores if score.uncertainty is not None]
    expected: list[tuple[Any, Any]] = [
        (evaluation.time, str),
        (evaluation.protocol.seeds, PositiveInt),
        *_fields(evaluation.protocol),
        *(pair for score in scores for pair in _fields(score.origin)),
        *((score.direction, Direction) for score in scores),
        *((score.value, float) for score in scores if not _is_nan(score.value)),
        *((uncertainty.over, str) for uncertainty in uncertain),
        *((uncertainty.std, NonNegativeFloat) for uncertainty in uncertain if not _is_nan(uncertainty.std)),
    ]
    if not all(fits(value, annotation) for value, annotation in expected):
        raise TypeError
    for name in filter(None, (score.origin.extractor for score in scores)):
        evaluation.protocol.extractors[name]


def _fields(record: Any) -> Iterator[tuple[Any, Any]]:
    """The values of a dataclass, each with its annotation."""
    hints = get_type_hints(type(record))
    return ((value, hints[name]) for name, value in vars(record).items())


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def protocol_of(evaluation: Evaluation, score: str) -> str:
    """Everything beside the model that a score depends on, as text: equal for comparable scores."""
    protocol, origin = evaluation.protocol, evaluation.scores[score].origin
    keys = [*SHARED_KEYS, *SAMPLE_KEYS] if origin.of_samples else SHARED_KEYS
    found: dict[str, Any] = {key: getattr(protocol, key) for key in keys}
    found["images"] = {split: protocol.images.get(split) for split in origin.splits}
    found["metric"] = protocol.metrics.get(origin.metric)
    found["extractor"] = origin.extractor and protocol.extractors[origin.extractor]
    return json.dumps(found, sort_keys=True)


def columns_of(asked: str, runs: list[RunScores]) -> list[str]:
    """The scores named in `asked`, separated by commas, or else all; UserError for one that no run has."""
    known = list(dict.fromkeys(name for run in runs for evaluation in run.evaluations for name in evaluation.scores))
    if not known:
        raise UserError("compare: these runs have no scores; add some with lightning-gen evaluate checkpoint=RUN")
    names = []
    for name in filter(None, asked.split(",")):
        found = _named(name, known)
        if not found:
            fix = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise UserError(f"scores={name}: no run has it{fix}")
        names += found
    return names or known


def _named(name: str, scores: Iterable[str]) -> list[str]:
    """The score of exactly that name, or else all scores that it names."""
    scores = list(scores)
    return [name] if name in scores else [score for score in scores if names_score(name, score)]


def compare(runs: list[RunScores], columns: list[str], sort: str | None, force: bool, group: bool = True) -> Table:
    """The table of the scores with equal protocols (of all scores, with `force`), best run first.

    With `group` runs that differ in their seed alone are a row. UserError if the runs can't be sorted by `sort`.
    """
    chosen, notes = _choose(runs, columns, force)
    sort = _sort_column(chosen, sort, notes)
    directions = {name: _direction(selection, name) for name, selection in chosen.items()}
    groups = groups_of([run.settings for run in runs]) if group else [[index] for index in range(len(runs))]
    rows = {
        name: [mean_cell([_cell(selection[n], name) for n in members]) for members in groups]
        for name, selection in chosen.items()
    }
    sign = 1 if directions[sort] == "lower" else -1
    order = sorted(range(len(groups)), key=lambda row: _sort_value(rows[sort][row], sign))
    cells = {name: [column[row] for row in order] for name, column in rows.items()}
    for name, column in cells.items():
        _mark(column, directions[name])
    ordered = [groups[row] for row in order]
    settings, more = differing([_shared_settings(runs, members) for members in ordered])
    notes = [*_protocol_notes(chosen), *_group_notes(ordered), *notes]
    notes += [f"the runs also differ in {listed(more, ', ')}"] if more else []
    names = group_names([[runs[n].name for n in members] for members in ordered], settings)
    return Table(names, cells, directions, sort, notes, settings)


def _shared_settings(runs: Sequence[RunScores], members: Sequence[int]) -> Settings:
    """The settings of a row, without the seed if there are several."""
    settings = runs[members[0]].settings
    return settings if len(members) == 1 else {key: value for key, value in settings.items() if key != SEED}


def _group_notes(groups: Sequence[Sequence[int]]) -> list[str]:
    if all(len(members) == 1 for members in groups):
        return []
    return ["± of a row of several seeds is one standard deviation over its trainings (group=false shows each run)."]


def _choose(runs: list[RunScores], columns: list[str], force: bool) -> tuple[dict[str, Selection], list[str]]:
    """Each run's evaluation by score, and notes on unequal protocols, whose scores are left out without `force`."""
    chosen: dict[str, Selection] = {}
    notes = []
    for score in columns:
        selection, difference = _select(runs, score)
        if not any(selection):
            notes.append(f"{score} is left out: it is null in all runs")
            continue
        if difference and not force:
            notes.append(f"{score} is left out: {difference} (force=true ranks it anyway)")
            continue
        chosen[score] = selection
        if difference:
            notes.append(f"{score}: {difference}; ranked anyway")
    return chosen, notes


def _sort_column(chosen: Mapping[str, Selection], sort: str | None, notes: list[str]) -> str:
    """`sort`, or else the first score that all runs have."""
    if sort is not None and (found := _named(sort, chosen)):
        return found[0]
    if sort is not None:
        reason = next((note for note in notes if note.startswith(f"{sort} is")), "no run has it")
        raise UserError(f"sort={sort}: {reason.removeprefix(f'{sort} is left out: ')}{did_you_mean(sort, chosen)}")
    if not chosen:
        raise UserError(f"compare: nothing to rank, {notes[0]}")
    return next((name for name, selection in chosen.items() if None not in selection), next(iter(chosen)))


def _select(runs: list[RunScores], score: str) -> tuple[Selection, str]:
    """Each run's evaluation by the newest protocol that all share, or else by its own newest, with the difference."""
    by_run = [run.by_protocol(score) for run in runs]
    having = [by_protocol for by_protocol in by_run if by_protocol]
    if not having:
        return [None] * len(runs), ""
    shared = [protocol for protocol in having[0] if all(protocol in other for other in having)]
    if shared:
        newest = max(shared, key=lambda protocol: max(by_protocol[protocol].time for by_protocol in having))
        return [by_protocol.get(newest) for by_protocol in by_run], ""
    latest = [max(by_protocol, key=lambda p: by_protocol[p].time, default=None) for by_protocol in by_run]
    taken = [by_protocol[p] if p else None for by_protocol, p in zip(by_run, latest, strict=True)]
    return taken, _difference(runs, latest)


def _difference(runs: list[RunScores], protocols: Sequence[str | None]) -> str:
    """The first entry in which two protocols differ."""
    parsed = [(run.name, json.loads(protocol)) for run, protocol in zip(runs, protocols, strict=True) if protocol]
    first, expected = parsed[0]
    for name, other in parsed[1:]:
        for (key, value), (_, other_value) in zip(_flat(expected), _flat(other), strict=False):
            if value != other_value:
                return f"unequal protocols, {key} is {value} in {first} and {other_value} in {name}"
    return "unequal protocols"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _flat(member, f"{key}.{name}" if key else name)
    else:
        yield key, value


def _direction(selection: Selection, name: str) -> Direction:
    return next(evaluation.scores[name].direction for evaluation in selection if evaluation)


def _sort_value(cell: Cell | None, sign: int) -> float:
    return math.inf if cell is None else sign * cell.value


def _cell(evaluation: Evaluation | None, name: str) -> Cell | None:
    if evaluation is None:
        return None
    score = evaluation.scores[name]
    return Cell(score.value, _standard_error(score, evaluation.protocol.seeds))


def _standard_error(score: Score, seeds: int) -> float | None:
    uncertainty = score.uncertainty
    if uncertainty is None or math.isnan(uncertainty.std):
        return None
    # of a mean over seeds, sigma / sqrt(n)
    return uncertainty.std / math.sqrt(seeds) if uncertainty.over == SEEDS else uncertainty.std


def _mark(column: list[Cell | None], direction: Direction) -> None:
    """Mark the best score, and those whose distance to it is within a few of its standard errors."""
    cells = [cell for cell in column if cell is not None]
    best = (min if direction == "lower" else max)(cells, key=lambda cell: cell.value)
    for cell in cells:
        if cell is best:
            cell.mark = "best"
        elif cell.standard_error is not None and best.standard_error is not None:
            noise = math.hypot(cell.standard_error, best.standard_error)
            cell.mark = "noise" if abs(cell.value - best.value) < STANDARD_ERRORS * noise else ""


def _protocol_notes(chosen: Mapping[str, Selection]) -> list[str]:
    """Data and numbers of images, the meaning of ±, and versions that differ."""
    evaluations = [evaluation for selection in chosen.values() for evaluation in selection if evaluation]
    protocols = [evaluation.protocol for evaluation in evaluations]
    sizes = dict.fromkeys(f"{p.data} {p.split}, {p.n_real} real images, {p.n_fake} samples" for p in protocols)
    notes = ["; ".join(sizes)]
    if any(score.uncertainty for evaluation in evaluations for score in evaluation.scores.values()):
        notes.append(
            "± is one standard error of scoring; training again with another seed moves scores by more "
            "(https://arxiv.org/abs/2606.20536)."
        )
    versions = {name: {p.versions.get(name) for p in protocols} for name in ("torch", "torchmetrics")}
    mixed = [f"{name} {', '.join(sorted(map(str, found)))}" for name, found in versions.items() if len(found) > 1]
    if mixed:
        notes.append(f"different versions: {'; '.join(mixed)}")
    return notes
