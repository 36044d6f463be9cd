"""Kills runs with SIGKILL at random moments, resumes them, and compares their final states with an undisturbed run.

`python scripts/kill_test.py [kills] [key=value ...]` prints one JSON line.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
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


def command(folder: Path, overrides: list[str]) -> list[str]:
    """Arguments that start the run in `folder`, or continue it."""
    how = ["resume=true"] if (folder / "config.yaml").exists() else overrides
    return [sys.executable, "-m", "lightning_gen", "train", f"run_dir={folder}", *how]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the model at the end."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def run_for(folder: Path, overrides: list[str], moment: float | None = None) -> bool:
    """Start or continue the run in `folder`; True if it was killed after `moment` seconds, before its end."""
    run = subprocess.Popen(command(folder, overrides), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        run.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return True
    if run.returncode:
        sys.exit(f"the run ended with status {run.returncode}")
    return False


def main(kills: int, overrides: list[str]) -> None:
    """Kill runs `kills` times, starting a new run after each that finished; compare all final states."""
    overrides = SMALL + overrides
    with tempfile.TemporaryDirectory() as root:
        straight = Path(root, "straight")
        start = time.monotonic()
        run_for(straight, overrides)
        seconds = time.monotonic() - start
        chance = random.Random(0)
        runs, moments = [Path(root, "0")], []
        while len(moments) < kills:
            moment = chance.uniform(0.2, 1.0) * seconds
            if run_for(runs[-1], overrides, moment):
                moments.append(round(moment, 1))
            else:
                seconds *= 0.7  # it had finished: the machine was busier during the first run
                runs.append(Path(root, str(len(runs))))
        run_for(runs[-1], overrides)
        expected, rows = weights(straight), (straight / "metrics.csv").read_text().count("\n")
        equal = [
            expected.keys() == (other := weights(run)).keys()
            and all(torch.equal(expected[name], other[name]) for name in expected)
            and (run / "metrics.csv").read_text().count("\n") == rows
            for run in runs
        ]
    print(json.dumps({"bench": "kill", "killed_at": moments, "runs": len(runs), "bit_identical": sum(equal)}))
    sys.exit(not all(equal))


if __name__ == "__main__":
    number = next((int(argument) for argument in sys.argv[1:] if argument.isdigit()), 20)
    main(number, [argument for argument in sys.argv[1:] if not argument.isdigit()])
