"""What several CPU processes gain over one: `python scripts/bench_processes.py [model ...] [key=value ...]`.

Trains each model (by default `vae`, `dcgan`, `stylegan2`, and `flow_matching` of the flow plugin) with the command:
in one process of one thread (`one`), in `processes=2` of one thread each (`processes`), and in one process of as many
threads (`threads`). All divide batches of `batch_size=64` images. They take turns, `rounds=3` times, for `steps=N`
optimizer steps. Medians of the product's own `images_per_second`, without the first quarter of each run.
One JSON line each; other keys are the config's.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOW = ROOT / "plugins" / "lightning_gen_flow"
STEPS = {"vae": 320, "dcgan": 80, "stylegan2": 32, "flow_matching": 32}
INTERVAL = 16  # steps: the default interval of StyleGAN2's penalties
FIXED = [
    *("data=fake", "data.image_shape=[1,28,28]", "data.num_images=2048", "metrics=[]", "callbacks=[log_terms]"),
    *(f"callbacks.log_terms.every_steps={INTERVAL}", "trainer.steps_per_call=4"),
    "trainer.validate_every_images=1_000_000_000",
]


def main(arguments: list[str]) -> None:
    """Measure and print."""
    numbers = {"processes": 2, "batch_size": 64, "rounds": 3, "steps": 0}
    given = dict(each.split("=", 1) for each in arguments if "=" in each)
    numbers |= {name: int(given.pop(name)) for name in numbers if name in given}
    overrides = [f"{key}={value}" for key, value in given.items()]
    for model in [each for each in arguments if "=" not in each] or list(STEPS):
        steps = numbers["steps"] or STEPS.get(model, 64)
        print(json.dumps(compared(model, overrides, **numbers | {"steps": steps})), flush=True)


def compared(
    model: str, overrides: list[str], *, processes: int, batch_size: int, rounds: int, steps: int
) -> Mapping[str, object]:
    """The report on one model."""
    common = [f"model={model}", *FIXED, f"data.batch_size={batch_size}", f"trainer.max_images={batch_size * steps}"]
    rivals = {"one": (1, 1), "processes": (processes, 1), "threads": (1, processes)}
    speeds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, (size, threads) in rivals.items():
            rows = train([*common, *overrides], size, threads)
            speeds[name] += rows[(len(rows) + 3) // 4 :] or rows
    speed = {name: statistics.median(rows) for name, rows in speeds.items()}
    line = {"bench": "processes", "model": model, "cores": os.cpu_count(), "processes": processes}
    line |= {"batch_size": batch_size, "rounds": rounds, "steps": steps}
    line |= {f"{name}_ms": round(1e3 * batch_size / value, 2) for name, value in speed.items()}
    line |= {f"{name}_images_per_second": round(value, 1) for name, value in speed.items()}
    return line | {f"{name}_over_one": round(speed[name] / speed["one"], 2) for name in ("processes", "threads")}


def train(arguments: list[str], size: int, threads: int) -> list[float]:
    """Images per second in each interval of a run in `size` processes of `threads` threads."""
    ranks = [f"trainer.devices={size}", "trainer.strategy=ddp"] if size > 1 else []
    path = os.pathsep.join(filter(None, [str(ROOT), str(FLOW), os.environ.get("PYTHONPATH")]))
    environment = {"LIGHTNING_GEN_PLUGINS": FLOW.name} | os.environ | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "lightning_gen", "train", *arguments, *ranks, f"run_dir={folder}/run"],
            env=environment | {"OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr)
        with open(Path(folder, "run", "metrics.csv"), newline="") as file:
            return [float(row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]


if __name__ == "__main__":
    main(sys.argv[1:])
