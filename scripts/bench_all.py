"""All benchmarks in one table, as in docs/speed.md: `python scripts/bench_all.py [quick] [name ...]`, see `BENCHES`.

Prints Markdown: the machine with its load before and after, versions, and what each benchmark reports, with the CPU
seconds that it took. All run with one thread, unless OMP_NUM_THREADS has another number. `quick` takes fewer rounds of
fewer steps: minutes instead of half an hour, and medians of one to two. A benchmark that fails is told on the standard
error, and left out.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from clocks import seconds_of_children

from lightning_gen.utilities.compat import cpu_computes_in_bfloat16
from lightning_gen.utilities.hardware import num_processors

SCRIPTS = Path(__file__).resolve().parent
DIGITS = ["data=fake", "data.image_shape=[1,28,28]", "data.black_and_white=true"]
BENCHES: Mapping[str, Sequence[str]] = {
    "start": ["bench_start.py", "5"],
    "tiny": ["bench_step.py", "tiny", "rounds=3"],
    "tiny_gan": ["bench_step.py", "tiny_gan", "rounds=3"],
    "vae": ["bench_step.py", "vae", *DIGITS, "rounds=3", "steps=100"],
    "dcgan": ["bench_step.py", "dcgan", *DIGITS, "rounds=3", "steps=16"],
    "data": ["bench_data.py"],
    "rnn": ["bench_rnn.py", "3"],
    "metrics": ["bench_metrics.py"],
}
QUICK: Mapping[str, Sequence[str]] = {
    "start": ["bench_start.py", "1"],
    "tiny": ["bench_step.py", "tiny", "rounds=1"],
    "tiny_gan": ["bench_step.py", "tiny_gan", "rounds=1"],
    "vae": ["bench_step.py", "vae", *DIGITS, "rounds=2", "steps=30"],
    "dcgan": ["bench_step.py", "dcgan", *DIGITS, "rounds=2", "steps=6"],
    "data": ["bench_data.py", "--rounds", "1"],
    "rnn": ["bench_rnn.py", "1"],
    "metrics": ["bench_metrics.py", "formulas", "num_features=1024", "rounds=1"],
}
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "pythae", "torchgan", "torch-fidelity")
UNITS = {"_s": "s", "_ms": "ms", "_us": "us", "_seconds": "s", "_images_per_second": "images/s"}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    quick = arguments[:1] == ["quick"]
    benches = QUICK if quick else BENCHES
    names = arguments[1:] if quick else arguments
    for name in names:
        if name not in benches:
            sys.exit(f"{name}: no such benchmark; there are {', '.join(benches)}")
    load = os.getloadavg()[0]
    rows = [row for name in names or benches for row in rows_of(name, benches[name])]
    header = ["| benchmark | time | ratio | CPU seconds in all |", "|---|---|---|---|"]
    print("\n".join([*machine(load), "", *header, *rows]))


def machine(load: float) -> list[str]:
    """What the figures depend on."""
    kernels = torch.backends.cpu.get_cpu_capability() + (" with" if cpu_computes_in_bfloat16() else " without")
    versions = [f"{package} {installed}" for package in PACKAGES if (installed := version_of(package))]
    return [
        f"{date.today()}; {cpu_name()}, {num_processors()} cores, {kernels} bfloat16;",
        f"load {load:.1f} at the beginning, {os.getloadavg()[0]:.1f} at the end; Python {platform.python_version()},",
        f"{', '.join(versions)}.",
    ]


def cpu_name() -> str:
    """As /proc/cpuinfo has it, on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def version_of(package: str) -> str:
    """Empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def rows_of(name: str, command: Sequence[str]) -> list[str]:
    """A row for each line of JSON that a benchmark prints; the last one has the CPU seconds of all of them."""
    start = seconds_of_children()
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    done = subprocess.run(
        [sys.executable, SCRIPTS / command[0], *command[1:]], capture_output=True, text=True, env=environment
    )
    seconds = round(seconds_of_children() - start)
    if done.returncode:
        print(f"{name}: {done.stderr[-500:]}", file=sys.stderr, flush=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print(f"{name}: {seconds} CPU seconds", *map(json.dumps, lines), sep="\n", file=sys.stderr, flush=True)
    return [f"{row_of(line)} {seconds if line is lines[-1] else ''} |" for line in lines]


def row_of(line: Mapping[str, object]) -> str:
    """A row with the times and ratios of one line of JSON; FLOPs stand beside the times."""
    title = " ".join(str(line[key]) for key in ("bench", "model", "what") if key in line)
    times, ratios = [], []
    for key, value in flat(line).items():
        end = next((end for end in UNITS if key.endswith(end)), None)
        loop = key.removesuffix(end or "")
        if end == "_images_per_second" and f"{loop}_us" in line:
            continue  # the time is told
        if end and isinstance(value, float | int):
            gflop = f" ({line[f'{loop}_gflop']} GFLOP)" if f"{loop}_gflop" in line else ""
            times.append(f"{loop} {value} {UNITS[end]}{gflop}")
        elif "_over_" in key or key.endswith("_slower") or key in ("speedup", "ratio"):
            ratios.append(f"{key} {value}")
        elif isinstance(value, str) and key not in ("bench", "model", "what", "device", "torch"):
            ratios.append(f"{key}: {value}")
    return f"| {title} | {'; '.join(times)} | {'; '.join(ratios)} |"


def flat(line: Mapping[str, object]) -> dict[str, object]:
    """The values of nested mappings by joined keys."""
    values: dict[str, object] = {}
    for key, value in line.items():
        inner = flat(value) if isinstance(value, Mapping) else {}
        values |= {f"{key}_{name}": each for name, each in inner.items()} if inner else {key: value}
    return values


if __name__ == "__main__":
    main(sys.argv[1:])
