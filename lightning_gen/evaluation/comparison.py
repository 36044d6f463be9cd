"""`lightning-gen compare`: the scores of several runs in one table, of which only like is ranked with like."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_gen.errors import UserError
from lightning_gen.evaluation.table import Cell, Table
from lightning_gen.utilities.suggestions import did_you_mean

# What makes the scores of two models comparable, beside the settings of the metric and of the extractor.
OF_ALL = ("data", "split", "binarize", "n_real")
OF_SAMPLES = ("n_fake",)
APART = 2  # standard errors of a difference, from which on it is not called noise


@dataclass
class Run:
    """What a run's evaluations say, newest last."""

    name: str
    evaluations: list[dict[str, Any]] = field(repr=False)

    def of(self, score: str) -> dict[str, dict[str, Any]]:
        """The newest evaluation that has the score, by protocol."""
        return {
            protocol_of(result, score): result for result in self.evaluations if result["scores"].get(score) is not None
        }


def read_runs(paths: list[Path]) -> list[Run]:
    """The runs in these folders or files, named by what of their paths differs."""
    names = _short([path.parent if path.name == "evaluation.json" else path for path in paths])
    return [Run(name, _read(path)) for name, path in zip(names, paths, strict=True)]


def _short(paths: list[Path]) -> list[str]:
    parts = [path.absolute().parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path in paths if parts.count(path.absolute().parts) > 1)
        raise UserError(f"compare {twice}: is named twice")
    shared = 0
    while len(parts) > 1 and all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return ["/".join(p[shared if len(parts) > 1 else -1 :]) for p in parts]


def _read(path: Path) -> list[dict[str, Any]]:
    file = path / "evaluation.json" if path.is_dir() else path
    if not file.is_file():
        what = "a folder without evaluation.json" if path.is_dir() else "no such file or folder"
        raise UserError(f"compare {path}: {what}; score a run with lightning-gen evaluate checkpoint={path}")
    try:
        evaluations = json.loads(file.read_text())
        if not isinstance(evaluations, list) or not all("protocol" in result for result in evaluations):
            raise ValueError
    except (ValueError, TypeError):
        raise UserError(f"compare {path}: {file.name} holds something other than evaluations") from None
    # Those of versions that did not yet say where a score is from can't be told to be alike.
    return [result for result in evaluations if "origin" in result]


def protocol_of(result: Mapping[str, Any], score: str) -> str:
    """What a score depends on beside the model, as text: equal for two scores that compare."""
    protocol, origin = result["protocol"], result["origin"][score]
    keys = OF_ALL + OF_SAMPLES * bool(origin["of_samples"])
    found = {key: protocol.get(key) for key in keys}
    found["images"] = {split: protocol["images"].get(split) for split in origin["splits"]}
    found["metric"] = protocol["metrics"].get(origin["metric"])
    found["extractor"] = origin["extractor"] and protocol["extractors"][origin["extractor"]]
    return json.dumps(found, sort_keys=True)


def columns_of(asked: str, runs: list[Run]) -> list[str]:
    known = list(dict.fromkeys(name for run in runs for result in run.evaluations for name in result["scores"]))
    if not known:
        raise UserError("compare: these runs have no scores; add some with lightning-gen evaluate checkpoint=RUN")
    for name in filter(None, asked.split(",")):
        if name not in known:
            raise UserError(
                f"scores={name}: no run has it{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
            )
    return list(filter(None, asked.split(","))) or known


def compare(runs: list[Run], columns: list[str], sort: str | None, force: bool) -> Table:
    """The table of those scores that were got in the same way (all, with `force`), best run first.

    UserError if the runs can't be sorted by `sort`.
    """
    chosen: dict[str, list[dict[str, Any] | None]] = {}
    notes = []
    for score in columns:
        results, difference = _alike(runs, score)
        if difference and not force:
            notes.append(f"{score} is left out: {difference} (force=true ranks it all the same)")
        else:
            chosen[score] = results
            notes += [f"{score}: {difference}; ranked all the same"] if difference else []
    if sort is not None and sort not in chosen:
        reason = next((note for note in notes if note.startswith(f"{sort} is")), "no run has it")
        raise UserError(f"sort={sort}: {reason.removeprefix(f'{sort} is left out: ')}{did_you_mean(sort, chosen)}")
    if not chosen:
        raise UserError(f"compare: nothing to rank, {notes[0]}")
    sort = sort or next((s for s, results in chosen.items() if None not in results), next(iter(chosen)))
    better = {s: next(r["better"][s] for r in results if r) for s, results in chosen.items()}
    sign = 1 if better[sort] == "lower" else -1
    order = sorted(range(len(runs)), key=lambda n: _sort_value(chosen[sort][n], sort, sign))
    cells = {score: [_cell(results[n], score) for n in order] for score, results in chosen.items()}
    for score, column in cells.items():
        _mark(column, better[score])
    return Table([runs[n].name for n in order], cells, better, sort, [*_protocol_notes(chosen), *notes])


def _alike(runs: list[Run], score: str) -> tuple[list[dict[str, Any] | None], str]:
    """Each run's evaluation to take, by a protocol they share if there is one, else how they differ."""
    found = [run.of(score) for run in runs]
    having = [protocols for protocols in found if protocols]
    shared = [protocol for protocol in having[0] if all(protocol in other for other in having)]
    newest = max(shared, key=lambda p: max(each[p]["time"] for each in having), default=None)
    if newest is not None:
        return [protocols.get(newest) for protocols in found], ""
    latest = [max(protocols, key=lambda p: protocols[p]["time"]) if protocols else None for protocols in found]
    taken = [protocols[p] if p else None for protocols, p in zip(found, latest, strict=True)]
    return taken, _difference(runs, latest)


def _difference(runs: list[Run], protocols: list[str | None]) -> str:
    """The first thing in which two protocols differ."""
    there = [(run.name, json.loads(p)) for run, p in zip(runs, protocols, strict=True) if p]
    (first, one), *others = there
    for name, other in others:
        for (key, value), (_, value2) in zip(_flat(one), _flat(other), strict=False):
            if value != value2:
                return f"unlike protocols, {key} is {value} in {first} and {value2} in {name}"
    return "unlike protocols"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, f"{key}.{name}" if key else name)
    else:
        yield key, value


def _sort_value(result: dict[str, Any] | None, score: str, sign: int) -> float:
    return math.inf if result is None else sign * result["scores"][score]


def _cell(result: dict[str, Any] | None, score: str) -> Cell | None:
    if result is None:
        return None
    uncertainty = result["uncertainty"].get(score)
    seeds = result["protocol"]["seeds"]
    std = uncertainty["std"] if uncertainty else None
    # Of a mean over seeds the error is less than a seed's.
    error = std if std is None or uncertainty["over"] != "seeds" else std / math.sqrt(seeds)
    return Cell(result["scores"][score], error)


def _mark(column: list[Cell | None], better: str) -> None:
    """Say of each score whether it is the best, or so near to it that it may be by chance."""
    there = [cell for cell in column if cell is not None]
    best = (min if better == "lower" else max)(there, key=lambda cell: cell.value)
    for cell in there:
        if cell is best:
            cell.mark = "best"
        elif None not in (cell.error, best.error):
            noise = math.hypot(cell.error, best.error)
            cell.mark = "noise" if abs(cell.value - best.value) < APART * noise else ""


def _protocol_notes(chosen: Mapping[str, list[dict[str, Any] | None]]) -> list[str]:
    """What the scores were got from, and on what they have no say."""
    results = [result for column in chosen.values() for result in column if result]
    whats = dict.fromkeys(
        f"{r['protocol']['data']} {r['protocol']['split']}, {r['protocol']['n_real']} real images, "
        f"{r['protocol']['n_fake']} samples"
        for r in results
    )
    errors = any(result["uncertainty"] for result in results)
    note = (
        f"± is one standard error of scoring; within {APART} of them of the best is called noise. Training again with "
        "another seed moves scores more than that (https://arxiv.org/abs/2606.20536)."
    )
    versions = {name: {r["protocol"]["versions"].get(name) for r in results} for name in ("torch", "torchmetrics")}
    mixed = [f"{name} {', '.join(sorted(map(str, found)))}" for name, found in versions.items() if len(found) > 1]
    return ["; ".join(whats), *([note] if errors else []), *([f"unlike versions: {'; '.join(mixed)}"] if mixed else [])]
