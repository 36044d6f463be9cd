"""What `debug=smoke` costs: `python scripts/bench_smoke.py [choice ...] [key=value ...]`.

Runs `lightning-gen train CHOICE debug=smoke` in a process of one thread for each choice, such as `model=vae` or
`experiment=digits/dcgan`; by default for all models and experiments. Data that would have to be downloaded is replaced
by `data=fake` of the same shape, sequence models get sequences, `my_pictures` drawn pictures, `code_prior` codes. One
JSON line each: `cpu_seconds` of the whole command with its scores (bar: 30), and `ok`, whether it succeeded, else its
last lines.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from clocks import seconds_of_children
from draw_pictures import draw_all

from lightning_gen.config.options import list_options

ROOT = Path(__file__).resolve().parents[1]
SEQUENCES = ("frame_lstm", "conv_lstm", "pred_rnn", "svg_lp", "vrnn", "mocogan")
NEEDED = {"model=vqvae2": ["model.stride=2"], "experiment=moving_digits/small": ["model=frame_lstm"]}
DOWNLOADED = {"cifar10": "[3,32,32]", "mnist": "[1,28,28]"}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    groups = ("model=", "experiment=")
    chosen = [each for each in arguments if each.startswith(groups)] or [
        f"{group}={option.name}" for group in ("model", "experiment") for option in list_options(group)
    ]
    overrides = [each for each in arguments if not each.startswith(groups)]
    for choice in chosen:
        print(json.dumps(measured(choice, overrides)), flush=True)


def measured(choice: str, overrides: list[str]) -> Mapping[str, object]:
    """The report on one choice."""
    with tempfile.TemporaryDirectory() as folder:
        needed = [*data_for(choice, folder), *NEEDED.get(choice, [])]
        if choice.endswith("code_prior"):
            train("model=vqvae", f"run_dir={folder}/codes", "metrics=[]")
            needed.append(f"codes={folder}/codes")
        before = seconds_of_children()
        done = train(choice, *needed, f"run_dir={folder}/run", *overrides)
    seconds = seconds_of_children() - before
    line = {"bench": "smoke", "choice": choice, "cpu_seconds": round(seconds, 1), "ok": done.returncode == 0}
    return line | ({} if done.returncode == 0 else {"error": done.stderr[-500:]})


def train(*overrides: str) -> subprocess.CompletedProcess:
    """A smoke run in a process of its own."""
    command = [sys.executable, "-m", "lightning_gen", "train", *overrides, "debug=smoke"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def data_for(choice: str, folder: str) -> list[str]:
    """Overrides of the data, where the choice's own can't be had without a download, or is the user's."""
    group, _, name = choice.partition("=")
    kind = name.partition("/")[0]
    if group == "model":
        return ["data=moving_digits"] if name in SEQUENCES else []
    if kind == "my_pictures":
        draw_all(Path(folder, "pictures"), n=400, size=32, seed=0)
        return [f"data.path={folder}/pictures"]
    return ["data=fake", f"data.image_shape={DOWNLOADED[kind]}"] if kind in DOWNLOADED else []


if __name__ == "__main__":
    main(sys.argv[1:])
