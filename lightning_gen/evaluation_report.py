"""Evaluation results on disk and on screen."""

import json
import math
import os
from pathlib import Path
from typing import Any

from lightning_gen.errors import UserError
from lightning_gen.files import atomic_write


def save_evaluation(result: dict[str, Any], path: str | os.PathLike) -> None:
    """Add `result` to the JSON list of evaluations at `path`: earlier ones stay.

    JSON has no NaN: such scores become null, and `result["warnings"]` says what they were.
    """
    path = Path(path)
    finite = {name: value if math.isfinite(value) else None for name, value in result["scores"].items()}
    evaluations = [*_evaluations(path), result | {"scores": finite}]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(evaluations, indent=2, allow_nan=False) + "\n")


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
    rows = [(name, f"{value:.6g}", arrows[result["better"][name]]) for name, value in result["scores"].items()]
    if console.is_terminal:
        table = Table("score", "value", "", title=summary(result), title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        print(summary(result))
        for name, value, direction in rows:
            print(f"  {name:<32} {value:>12}  ({direction})")
    for name, reason in result["skipped"].items():
        print(f"  skipped {name}: {reason}")
    for warning in result["warnings"]:
        print(f"  warning: {warning}")


def summary(result: dict[str, Any]) -> str:
    """One line: data, numbers of images, extractor, weights, time."""
    protocol = result["protocol"]
    extractor = protocol["extractor"]
    parts = [
        f"{protocol['data']} {protocol['split']}{', binarised' if protocol['binarize'] else ''}",
        f"{protocol['n_real']} real",
        f"{protocol['n_fake']} samples",
        extractor["name"] if extractor else "no extractor",
        "averaged weights" if protocol["ema"] else "trained weights",
        f"seed {protocol['seed']}",
        f"{result['seconds']:.1f} s",
    ]
    return ", ".join(parts)
