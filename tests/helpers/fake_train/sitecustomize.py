"""On the path of a command, it takes the place of each run that the command starts as a process of its own.

The run writes what a run folder tells, adds a line to `calls.txt`, and is over at once; its score is its learning rate,
or else its seed. Seed 5 fails, seed 3 hangs at its first start, and all do where there is a file `hang`; stopped by
SIGTERM, they take a moment to save.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def _run(typed: dict[str, str]) -> int:
    folder, seed = Path(typed["run_dir"]), int(typed.get("seed", "0"))
    with open("calls.txt", "a") as file:
        file.write(f"{seed} {os.environ.get('LIGHTNING_GEN_SWEEP')}\n")
    if seed == 5:
        return 2
    is_new = not (folder / "config.yaml").exists()
    folder.joinpath("checkpoints").mkdir(parents=True, exist_ok=True)
    folder.joinpath("config.yaml").write_text(json.dumps({"seed": seed, "model": {"_target_": "a.Model"}}))
    signal.signal(signal.SIGTERM, lambda number, frame: _save(folder))
    if (seed == 3 and is_new and "seed_3-" in folder.name) or Path("hang").exists():
        time.sleep(600)
    folder.joinpath("environment.json").write_text(json.dumps([{"outcome": "finished"}]))
    folder.joinpath("evaluation.json").write_text(json.dumps([_evaluation(float(typed.get("lr", seed)))]))
    return 0


def _save(folder: Path) -> None:
    time.sleep(1)
    folder.joinpath("checkpoints", "last.ckpt").touch()
    os._exit(143)


def _evaluation(value: float) -> dict:
    origin = {"metric": "m", "extractor": None, "of_samples": False, "splits": ["test"]}
    protocol = {"data": "fake", "split": "test", "images": {"test": "00"}, "binarize": False, "n_real": 8, "n_fake": 0}
    protocol |= {"extractors": {}, "metrics": {"m": {}}, "versions": {}}
    scores = {"scores": {"m": value}, "better": {"m": "lower"}, "origin": {"m": origin}, "uncertainty": {}}
    return {**scores, "protocol": protocol, "time": "2026-01-01T00:00:00", "skipped": {}, "warnings": []}


if "train" in sys.argv[1:2] and "-m" not in sys.argv:
    words = [text.partition("=") for text in sys.argv[2:]]
    os._exit(_run({key.rpartition(".")[2]: value.strip("'") for key, _, value in words}))
