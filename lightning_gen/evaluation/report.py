"""Evaluation results on disk and on screen."""

import json
import math
import os
from pathlib import Path
from typing import Any

from lightning_gen.errors import UserError
from lightning_gen.utilities.atomic_files import atomic_write


def save_evaluation(result: dict[str, Any], path: str | os.PathLike) -> None:
    """Add `result` to the JSON list of evaluations at `path`: earlier ones stay.

    JSON has no NaN: such scores become null, and `result["warnings"]` says what they were.
    """
    path = Path(path)
    evaluations = [*_evaluations(path), _finite(result)]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(evaluations, indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_readable(path: Path) -> None:
    """UserError if `path` holds something that results can't be added to."""
    _evaluations(path)


def _evaluations(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        evaluations = json.loads(path.read_text())
    except ValueError:
        evaluations = None
    if not isinstance(evaluations, list):
        raise UserError(f"out={path}: holds something other than evaluations; move it away or name another file")
    return evaluations


def print_table(result: dict[str, Any]) -> None:
    """Print scores with their protocol, then what was skipped and why; a table on a terminal, else plain lines."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    arrows = {"lower": "lower is better", "higher": "higher is better"}
    rows = [(name, shown(result, name), arrows[result["better"][name]]) for name in result["scores"]]
    if console.is_terminal:
        table = Table("score", "value", "", title=summary(result), title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        print(summary(result))
        for name, value, direction in rows:
            print(f"  {name:<32} {value:>22}  ({direction})")
    if over := sorted({each["over"] for each in result["uncertainty"].values()}):
        print(f"  ± is one standard deviation over {' or '.join(over)}")
    for name, reason in result["skipped"].items():
        print(f"  skipped {name}: {reason}")
    for warning in result["warnings"]:
        print(f"  warning: {warning}")


def shown(result: dict[str, Any], name: str) -> str:
    """A score as text, with what it may be off by; digits below that are not shown."""
    uncertainty = result["uncertainty"].get(name)
    return with_error(result["scores"][name], uncertainty and uncertainty["std"], ".6g")


def with_error(value: float | None, error: float | None, plain: str) -> str:
    """`value ± error`, to two digits of the error; in the format `plain` where there is no error to show."""
    if value is None:
        return "-"
    if not error or not math.isfinite(error):
        return format(value, plain)
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def summary(result: dict[str, Any]) -> str:
    """One line: data, numbers of images, extractor, weights, time."""
    protocol = result["protocol"]
    extractors = ", ".join(extractor["name"] for extractor in protocol["extractors"].values())
    of_model = protocol["samples"] == "model"
    last_seed = protocol["seed"] + protocol["seeds"] - 1
    parts = [
        f"{protocol['data']} {protocol['split']}{', binarized' if protocol['binarize'] else ''}",
        f"{protocol['n_real']} real",
        f"{protocol['n_fake']} samples",
        extractors or "no extractor",
        f"samples of {protocol['samples']}" * (not of_model),
        ("averaged weights" if protocol["ema"] else "trained weights") * of_model,
        *(f"model.{key}={value}" for key, value in protocol.get("model", {}).items()),
        f"seed {protocol['seed']}" if protocol["seeds"] == 1 else f"seeds {protocol['seed']} to {last_seed}",
        f"{result['seconds']:.1f} s",
    ]
    return ", ".join(filter(None, parts))
