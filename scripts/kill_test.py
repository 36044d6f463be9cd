"""Kills runs with SIGKILL at random moments, resumes them, and compares their results with those of an undisturbed run.

Compared are the weights, bit for bit, and all of metrics.csv but speed and memory.
`python scripts/kill_test.py [kills] [key=value ...]` prints one JSON line, and on stderr what differs.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

SMALL = [
    "trainer.max_images=25_600",
    "trainer.validate_every_images=2_560",
    "metrics=[]",
    "callbacks.last.every_images=1_920",
    "callbacks.sample_grid.every_images=5_120",
    "callbacks.reconstructions.every_images=5_120",
]
MEASURED = {"images_per_second", "memory_gib"}  # columns that differ between any two runs


def command(folder: Path, overrides: list[str]) -> list[str]:
    """Arguments that start the run in `folder`, or continue it."""
    how = ["resume=true"] if (folder / "config.yaml").exists() else overrides
    return [sys.executable, "-m", "lightning_gen", "train", f"run_dir={folder}", *how]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the model at the end."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def logged(folder: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv, without what was measured of the machine."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: row[name] for name in row if name not in MEASURED} for row in csv.DictReader(file)]


def differences(run: Path, straight: Path) -> Iterator[str]:
    """What a run ended with that the straight one did not."""
    mine, expected = weights(run), weights(straight)
    names = sorted(mine.keys() | expected.keys())
    if differ := [n for n in names if n not in mine or n not in expected or not torch.equal(mine[n], expected[n])]:
        yield f"{len(differ)} of {len(names)} weights, first {differ[0]}"
    rows, expected_rows = logged(run), logged(straight)
    if len(rows) != len(expected_rows):
        yield f"metrics.csv has {len(rows)} rows, not {len(expected_rows)}"
    for row, other in zip(rows, expected_rows, strict=False):
        for name in sorted(row.keys() | other.keys()):
            if row.get(name) != other.get(name):
                yield f"metrics.csv at {other['images']} images: {name} is {row.get(name)}, not {other.get(name)}"


def run_for(folder: Path, overrides: list[str], moment: float | None = None) -> float | None:
    """Start or continue the run in `folder`; its seconds of training, None if it was killed after `moment` of them."""
    table = folder / "metrics.csv"  # made by the first row, and made again at the beginning of a resumed training
    before = changed(table)
    run = subprocess.Popen(command(folder, overrides), stdout=subprocess.DEVNULL, start_new_session=True)
    while run.poll() is None and changed(table) == before:
        time.sleep(0.01)
    start = time.monotonic()
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return None
    if run.returncode:
        sys.exit(f"the run ended with status {run.returncode}")
    return time.monotonic() - start


def changed(file: Path) -> int:
    """When it was last written, in nanoseconds; 0 if it is not there."""
    return file.stat().st_mtime_ns if file.exists() else 0


def main(kills: int, overrides: list[str]) -> None:
    """Kill runs `kills` times, starting a new run after each that finished; compare what all end with."""
    overrides = SMALL + overrides
    with tempfile.TemporaryDirectory() as root:
        straight = Path(root, "straight")
        seconds = run_for(straight, overrides) or 0.0
        chance = random.Random(0)
        runs, moments = [Path(root, "0")], []
        while len(moments) < kills:
            moment = chance.uniform(0.0, 1.0) * seconds
            if run_for(runs[-1], overrides, moment) is None:
                moments.append(round(moment, 2))
            else:
                seconds *= 0.7  # it had finished: the machine was busier during the first run
                runs.append(Path(root, str(len(runs))))
        run_for(runs[-1], overrides)
        found = {run.name: list(differences(run, straight)) for run in runs}
    for name, lines in found.items():
        for line in lines:
            print(f"run {name}: {line}", file=sys.stderr)
    equal = sum(not lines for lines in found.values())
    print(json.dumps({"bench": "kill", "killed_at": moments, "runs": len(runs), "bit_identical": equal}))
    sys.exit(equal != len(runs))


if __name__ == "__main__":
    number = next((int(argument) for argument in sys.argv[1:] if argument.isdigit()), 20)
    main(number, [argument for argument in sys.argv[1:] if not argument.isdigit()])
