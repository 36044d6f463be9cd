"""All benchmarks in one table, as in docs/speed.md: `python scripts/bench_all.py [name ...]`, names as in `BENCHES`.

Prints Markdown: the machine with its load before and after, versions, and what each benchmark reports. Takes half an
hour on a quiet core; a benchmark that fails is told on the standard error, and left out.
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
PACKAGES = ("torch", "lightning", "torchmetrics", "hydra-core", "pythae", "torchgan", "torch-fidelity")
UNITS = {"_s": "s", "_ms": "ms", "_us": "us"}


def main(names: Sequence[str]) -> None:
    """Measure and print."""
    for name in names:
        if name not in BENCHES:
            sys.exit(f"{name}: no such benchmark; there are {', '.join(BENCHES)}")
    load = os.getloadavg()[0]
    rows = [row for name in names or BENCHES for row in rows_of(name)]
    print("\n".join([*machine(load), "", "| benchmark | time | ratio |", "|---|---|---|", *rows]))


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


def rows_of(name: str) -> list[str]:
    """A row for each line of JSON that a benchmark prints."""
    script, *arguments = BENCHES[name]
    done = subprocess.run([sys.executable, SCRIPTS / script, *arguments], capture_output=True, text=True)
    if done.returncode:
        print(f"{name}: {done.stderr[-500:]}", file=sys.stderr, flush=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    print(*map(json.dumps, lines), sep="\n", file=sys.stderr, flush=True)
    return [row_of(line) for line in lines]


def row_of(line: Mapping[str, object]) -> str:
    """A row with the times and ratios of one line of JSON; FLOPs stand beside the times."""
    title = " ".join(str(line[key]) for key in ("bench", "model", "what") if key in line)
    times, ratios = [], []
    for key, value in line.items():
        unit = next((unit for end, unit in UNITS.items() if key.endswith(end)), None)
        if unit and isinstance(value, float | int):
            loop = key.rpartition("_")[0]
            gflop = f" ({line[f'{loop}_gflop']} GFLOP)" if f"{loop}_gflop" in line else ""
            times.append(f"{loop} {value} {unit}{gflop}")
        elif "_over_" in key or key in ("speedup", "ratio"):
            ratios.append(f"{key} {value}")
        elif isinstance(value, str) and key not in ("bench", "model", "what", "device"):
            ratios.append(f"{key}: {value}")
    return f"| {title} | {'; '.join(times)} | {'; '.join(ratios)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
