"""Evaluation results on disk and on screen."""

import contextlib
import fcntl
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeGuard

from lightning_gen.errors import UserError
from lightning_gen.evaluation.result import HALVES, SEEDS, Evaluation, Protocol, RealAgainstReal, Score, Table
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.text_columns import column_lines

WIDTH, MOST_ROWS = 120, 40  # of tables on screen
_LACKS = re.compile(r"(?P<model>\w+) has no (?P<method>\w+)")  # why a metric of a method of models was skipped


def save_and_print(evaluation: Evaluation, path: str | os.PathLike | None) -> None:
    """`save_evaluation`, if there is a path, then `print_table`: the scores are in the file before the output can
    break (`| head`), and on the screen even if the file cannot be written.
    """
    try:
        pictures = {} if path is None else save_evaluation(evaluation, path)
    finally:
        print_table(evaluation)
    for name, picture in pictures.items():
        print(printable(f"  {name}: {picture}"))


def save_evaluation(evaluation: Evaluation, path: str | os.PathLike) -> dict[str, Path]:
    """Append `evaluation` to the JSON list of evaluations at `path`; one process of a host at a time.

    Its pictures are written beside it, and their paths returned; the entry has their names. JSON has no NaN: such
    scores become null, and the warnings give their values.
    """
    from lightning_gen.images import save_png  # torch, which `compare` does without

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        entries = _entries(path)
        pictures = {name: _free(path.parent, name) for name in evaluation.pictures}
        for name, draw in evaluation.pictures.items():
            save_png(draw(), pictures[name])
        entry = _finite(evaluation.to_json()) | _listed(pictures)
        atomic_write(path, json.dumps([*entries, entry], indent=2, allow_nan=False) + "\n")
    return pictures


def _free(folder: Path, name: str) -> Path:
    """The file `name`.png, with a number if an earlier evaluation has one."""
    plain = folder / f"{name.replace('/', '_')}.png"
    numbered = (plain.with_stem(f"{plain.stem}-{number}") for number in count(2))
    return plain if not plain.exists() else next(path for path in numbered if not path.exists())


def _listed(pictures: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    return {"pictures": {name: path.name for name, path in pictures.items()}} if pictures else {}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Within it no other process is; between reading and writing it would append to a list that is then replaced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_readable(path: Path, key: str = "out") -> None:
    """UserError, which names the config key, if `path` exists and is no list of evaluations."""
    _entries(path, key)


def _entries(path: Path, key: str = "out") -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text()) if path.is_file() else None  # reading a pipe would never end
    except (ValueError, RecursionError):
        entries = None
    if not are_evaluations(entries):
        raise UserError(f"{key}={path}: holds something other than evaluations; move it away or name another file")
    return entries


def are_evaluations(entries: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Whether the content of a JSON file is a list of evaluations, and not that of another program."""
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and {"scores", "protocol"} <= entry.keys() for entry in entries
    )


def print_table(evaluation: Evaluation) -> None:
    """Print scores with their protocol, skipped metrics and warnings; a table on a terminal, else plain lines."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    if not console.is_terminal:
        print("\n".join(report_lines(evaluation)))
        return
    table = RichTable("score", "value", "", title=escape(summary(evaluation)), title_justify="left")
    for row in _rows(evaluation):
        table.add_row(*map(escape, row))
    console.print(table)
    for line in _remarks(evaluation):
        print(line)


def report_lines(evaluation: Evaluation) -> Iterator[str]:
    """What `print_table` prints, as plain lines."""
    yield summary(evaluation)
    for name, value, remark in _rows(evaluation):
        yield f"  {name:<32} {value:>22}  ({remark})"
    yield from _remarks(evaluation)


def _rows(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Name, value and remark of each score."""
    for name, score in evaluation.scores.items():
        remark = f"{score.direction} is better"
        if floor := evaluation.real_against_real.get(name):
            remark += f"; real against real: {_text(floor, '.2g')}"
        yield printable(name), _text(score), remark


def _remarks(evaluation: Evaluation) -> Iterator[str]:
    for name, table in evaluation.tables.items():
        yield from _table_lines(name, table)
    if evaluation.tables:
        yield ""
    scores = [score for score in evaluation.scores.values() if "±" in _text(score)]
    if over := sorted({score.uncertainty.over for score in scores if score.uncertainty}):
        counts = {HALVES: f"{evaluation.protocol.half_samples} ", SEEDS: f"{evaluation.protocol.seeds} "}
        yield f"  ± is one standard deviation over {' or '.join(counts.get(each, '') + each for each in over)}"
    for reason, names in _by_reason(evaluation.skipped).items():
        yield printable(f"  skipped {', '.join(names)}: {reason}")
    for warning in evaluation.warnings:
        yield printable(f"  warning: {warning}")


def _by_reason(skipped: Mapping[str, str]) -> dict[str, list[str]]:
    """The skipped metrics by reason; one reason for all methods that the model lacks."""
    lacking = [match for match in map(_LACKS.fullmatch, skipped.values()) if match]
    methods = ", ".join(dict.fromkeys(match["method"] for match in lacking))
    grouped: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        match = _LACKS.fullmatch(reason)
        grouped.setdefault(f"{match['model']} has no {methods}" if match else reason, []).append(name)
    return grouped


def _table_lines(name: str, table: Table) -> list[str]:
    """A table under its name; only the name of one that is too wide for a terminal."""
    lines = [f"  {line}" for line in column_lines(table, MOST_ROWS, " in evaluation.json")]
    title = printable(f"  {name.replace('_', ' ')}")
    return ["", title, *lines] if max(map(len, lines)) <= WIDTH else [f"{title}: in evaluation.json"]


def _text(score: Score | RealAgainstReal, plain: str = ".6g") -> str:
    return with_error(score.value, score.uncertainty.std if score.uncertainty else None, plain)


def with_error(value: float, error: float | None, plain: str) -> str:
    """`value ± error` to two digits of the error; in the format `plain` without a positive, finite error."""
    if not error or not math.isfinite(error):
        return format(value, plain)
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:z.{digits}f} ± {error:.{digits}f}"


def summary(evaluation: Evaluation) -> str:
    """One line: data, numbers of images, extractors, weights or folder, seeds, duration."""
    protocol = evaluation.protocol
    extractors = ", ".join(dict.fromkeys(extractor["name"] for extractor in protocol.extractors.values()))
    parts = [
        f"{protocol.data} {protocol.split}",
        "binarized" if protocol.binarize else "",
        f"{protocol.n_real} real",
        f"{protocol.n_fake} samples",
        extractors or "no extractor",
        _origin_of_samples(protocol),
        f"resized: {protocol.resized}" if protocol.resized else "",
        *(f"{key} {value}" for key, value in evaluation.variant.items()),
        *(f"model.{key}={value}" for key, value in (protocol.model or {}).items()),
        _seeds(protocol),
        f"{evaluation.seconds:.1f} s",
    ]
    return printable(", ".join(filter(None, parts)))


def _origin_of_samples(protocol: Protocol) -> str:
    if protocol.samples != "model":
        return f"samples of {protocol.samples}"
    return "averaged weights" if protocol.ema else "trained weights"


def _seeds(protocol: Protocol) -> str:
    if protocol.seeds == 1:
        return f"seed {protocol.seed}"
    return f"seeds {protocol.seed} to {protocol.seed + protocol.seeds - 1}"
