"""List runs, find the best, show, compare the configs of and delete them.

usage: lightning-gen runs [FOLDER ...] [CONDITION ...] [sort=KEY] [most=N] [scores=A,B] [--json]
       lightning-gen runs best SCORE [FOLDER ...] [CONDITION ...] [--json]
       lightning-gen runs show RUN [--json]
       lightning-gen runs diff RUN RUN
       lightning-gen runs delete RUN ... [yes=true]

FOLDER is searched for run folders; by default outputs/. CONDITION is KEY=VALUE, or KEY with !=, <, >, <= or >=, in
quotes: model=vae 'kid<0.4' state=running. KEY is a field (state, model, data, name, started, images, size), a score,
or a key of configs such as model.latent_dim. A state is running, finished, stopped, failed or killed. Keys:
  sort=KEY     sort by it: scores best first, others smallest first; by default the newest run first
  most=N       at most N runs; by default all
  scores=A,B   the scores that are shown; by default those of conditions and sort, then the first, three in all
  yes=true     delete without a question
"""

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning_gen.errors import UserError
from lightning_gen.runs.record import ELSEWHERE, Run, find_runs
from lightning_gen.runs.selection import Condition, condition, ordered, score_name, scores_named, selected, shown
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen.utilities.text_columns import column_lines

OPTIONS = {"sort": "", "most": "", "scores": "", "yes": "false"}
SHOWN_SCORES = 3
LONGEST = 48  # characters of a cell


def run(arguments: list[str]) -> int:
    """Print what is asked for, or delete; UserError for folders that hold no run."""
    as_json = "--json" in arguments
    words = [word for word in arguments if word != "--json"]
    action = ACTIONS.get(words[0]) if words else None
    return _list(words, as_json) if action is None else action(words[1:], as_json)


def _list(words: Sequence[str], as_json: bool) -> int:
    paths, conditions, options = _parsed(words)
    folders = [Path(path).expanduser() for path in paths] or [Path("outputs")]
    runs = selected(_found(folders), conditions)
    runs = ordered(runs, options["sort"]) if options["sort"] else sorted(runs, key=lambda run: run.started)[::-1]
    runs = runs[: _number(options["most"])]
    asked = scores_named(runs, [options["sort"], *(wanted.key for wanted in conditions)])
    names = [name for name in options["scores"].split(",") if name] or _scores(runs, asked)
    if as_json:
        print(json.dumps([_summary(run) for run in runs], indent=1))
    elif not runs:
        print("no such run")
    else:
        print("\n".join(column_lines(_table(runs, names), len(runs), "")))
    return 0


def _best(words: Sequence[str], as_json: bool) -> int:
    if not words or condition(words[0]) is not None:
        raise UserError("runs best needs a score: lightning-gen runs best kid")
    return _list([*words[1:], f"sort={words[0]}", f"scores={words[0]}", "most=1"], as_json)


def _show(words: Sequence[str], as_json: bool) -> int:
    (run,) = _named(words, 1, "show")
    if as_json:
        print(json.dumps(_summary(run) | {"starts": run.starts, "config": run.config}, indent=1))
        return 0
    for key, value in _summary(run).items():
        if not isinstance(value, dict | list):
            print(f"{key:<10} {printable(size_text(value) if key == 'size' else shown(value))}")
    for name, value in run.scores.items():
        print(f"  {printable(name):<36} {shown(value)} ({printable(run.better.get(name, '-'))} is better)")
    for start in run.starts:
        print("\n".join(_start_lines(start)))
    return 0


def _start_lines(start: dict[str, Any]) -> list[str]:
    command = start.get("command")
    git = start.get("git") if isinstance(start.get("git"), dict) else {}
    packages = start.get("packages") if isinstance(start.get("packages"), dict) else {}
    changed = f", with changes in {git.get('diff') or 'more lines than are kept'}" if git.get("dirty") else ""
    versions = [f"{name} {packages[name]}" for name in ("torch", "lightning", "torchmetrics") if name in packages]
    lines = [
        f"started    {start.get('started', '-')}, {start.get('outcome', 'no end recorded')} {start.get('ended', '')}",
        f"  command  {shlex.join(map(str, command)) if isinstance(command, list) else '-'}",
        f"  in       {start.get('cwd', '-')} on {start.get('host', '-')}, {start.get('device_name', '-')}",
        f"  code     {git.get('commit', 'no git repository')} {git.get('branch') or ''}{changed}",
        f"  packages {', '.join(versions) or '-'}; all in environment.json",
    ]
    return [printable(line.rstrip()) for line in lines]


def _diff(words: Sequence[str], as_json: bool) -> int:
    from lightning_gen.evaluation.settings import all_differences

    one, other = _named(words, 2, "diff")
    found = all_differences(one.path, other.path)
    if as_json:
        print(json.dumps(found, indent=1, default=str))
    elif not found:
        print("the configs are equal")
    else:
        columns = {"key": list(found), one.name: [pair[0] for pair in found.values()]}
        columns |= {other.name: [pair[1] for pair in found.values()]}
        cut = {name: [_cut(shown(value)) for value in column] for name, column in columns.items()}
        print("\n".join(column_lines(cut, len(found), "")))
    return 0


def _delete(words: Sequence[str], as_json: bool) -> int:
    sure = "yes=true" in words
    runs = _named([word for word in words if not word.startswith("yes=")], None, "delete")
    for run in runs:
        if run.state == "running":
            raise UserError(f"runs delete {run.name}: is running; stop it first")
        if run.path.is_symlink():
            raise UserError(f"runs delete {run.name}: is a link; name the folder that it points to")
    size = size_text(sum(run.size for run in runs))
    names = ", ".join(printable(run.name) for run in runs)
    if not sure and not _agreed(names, size):
        print("nothing is deleted")
        return 0
    for run in runs:
        shutil.rmtree(run.path)
        print(f"deleted {printable(run.name)}")
    return 0


def _agreed(names: str, size: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"runs delete {names}: asks on a terminal; without one add yes=true")
    return input(f"delete {names} ({size})? [y/N] ").strip().lower() in ("y", "yes")


ACTIONS: dict[str, Callable[[Sequence[str], bool], int]] = {
    "list": _list,
    "best": _best,
    "show": _show,
    "diff": _diff,
    "delete": _delete,
}


def _parsed(words: Sequence[str]) -> tuple[list[str], list[Condition], dict[str, str]]:
    """Folders, conditions and keys among the words of a command line."""
    paths: list[str] = []
    conditions: list[Condition] = []
    options = dict(OPTIONS)
    for word in words:
        wanted = None if Path(word).exists() else condition(word)
        if wanted is None:
            paths.append(word)
        elif wanted.sign == "=" and wanted.key in OPTIONS:
            options[wanted.key] = wanted.value
        else:
            conditions.append(wanted)
    return paths, conditions, options


def _found(folders: Sequence[Path]) -> list[Run]:
    for folder in folders:
        if not folder.is_dir():
            hint = did_you_mean(str(folder), ACTIONS) or f"; {ELSEWHERE.format('runs')}"
            raise UserError(f"runs {folder}: no such folder{hint}")
    runs = {run.path.absolute(): run for folder in folders for run in find_runs(folder)}
    if not runs:
        raise UserError(f"runs {' '.join(map(str, folders))}: holds no run; {ELSEWHERE.format('runs')}")
    return list(runs.values())


def _named(words: Sequence[str], count: int | None, action: str) -> list[Run]:
    """The runs in these folders themselves."""
    if not words or (count is not None and len(words) != count):
        needed = {1: "RUN", 2: "RUN RUN", None: "RUN ..."}[count]
        raise UserError(f"{' '.join(['runs', action, *words])}: give lightning-gen runs {action} {needed}")
    runs = []
    for word in words:
        path = Path(word).expanduser()
        here = [run for run in find_runs(path) if run.path == path]
        if not here:
            raise UserError(f"runs {action} {word}: holds no run; lightning-gen runs lists them")
        runs += here
    return runs


def _number(text: str) -> int | None:
    if text and not text.isdigit():
        raise UserError(f"most={text}: give a number of runs")
    return int(text) if text else None


def _scores(runs: Sequence[Run], asked: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys([*asked, *(name for run in runs for name in run.scores)]))
    return found[: max(SHOWN_SCORES, len(asked))]


def _table(runs: Sequence[Run], scores: Sequence[str]) -> dict[str, list[str]]:
    columns = {
        "run": [run.name for run in runs],
        "state": [run.state for run in runs],
        "model": [run.model for run in runs],
        "data": [run.data for run in runs],
        "images": [f"{run.images:,}" if run.images else "-" for run in runs],
        "started": [run.started[:16].replace("T", " ") or "-" for run in runs],
        "size": [size_text(run.size) for run in runs],
    }
    for name in scores:
        columns[name] = [shown(run.scores.get(score_name(run, name) or "")) for run in runs]
    return columns


def _summary(run: Run) -> dict[str, Any]:
    """What `--json` has of a run."""
    keys = ("name", "state", "model", "data", "images", "started", "size", "scores")
    return {key: getattr(run, key) for key in keys}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]}.."
