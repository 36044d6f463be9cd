"""Kills a run with SIGKILL at random moments, resumes it each time, and compares its end with an undisturbed run.

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
    *("trainer.max_images=25_600", "trainer.validate_every_images=2_560", "metrics=[]"),
    *("callbacks.last.every_images=1_920", "callbacks.sample_grid.every_images=5_120"),
    "callbacks.reconstructions.every_images=5_120",
]


def command(folder: Path, overrides: list[str]) -> list[str]:
    """Start the run in `folder`, or go on with it."""
    resume = ["resume=true"] if (folder / "config.yaml").exists() else SMALL + overrides
    return [sys.executable, "-m", "lightning_gen", "train", f"run_dir={folder}", *resume]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the model at the end."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def main(kills: int = 20, *overrides: str) -> None:
    """Run, kill, resume, compare."""
    with tempfile.TemporaryDirectory() as root:
        straight, disturbed = Path(root, "straight"), Path(root, "disturbed")
        start = time.monotonic()
        subprocess.run(command(straight, list(overrides)), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        chance = random.Random(0)
        moments = []
        for _ in range(kills):
            run = subprocess.Popen(
                command(disturbed, list(overrides)), stdout=subprocess.DEVNULL, start_new_session=True
            )
            moment = chance.uniform(0.1, 0.9) * seconds
            try:
                run.wait(moment)
                assert run.returncode == 0, f"the resumed run failed with status {run.returncode}"
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
            moments.append(round(moment, 1))
        subprocess.run(command(disturbed, list(overrides)), check=True, stdout=subprocess.DEVNULL)
        one, other = weights(straight), weights(disturbed)
        equal = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        rows = [(folder / "metrics.csv").read_text().count("\n") for folder in (straight, disturbed)]
    print(json.dumps({"bench": "kill", "kills": kills, "seconds": moments, "bit_identical": equal, "csv_rows": rows}))
    sys.exit(not equal)


if __name__ == "__main__":
    main(*(int(a) if a.isdigit() else a for a in sys.argv[1:]))
