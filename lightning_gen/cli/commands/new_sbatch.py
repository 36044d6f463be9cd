"""Write a batch script for Slurm, whose job goes on by itself after a time limit, a preemption or a crash.

usage: lightning-gen new-sbatch [OVERRIDE ...] [nodes=1] [gpus=1] [time=24:00:00] [out=train.sbatch]

OVERRIDE is one of `lightning-gen train`, such as model=dcgan; further ones can follow `sbatch train.sbatch`. Keys:
  nodes=N     machines
  gpus=N      GPUs of each machine; 0: one process on the CPU of each
  time=LIMIT  time limit, as Slurm writes it; the run is saved and queued again two minutes before it
  out=FILE    where the script is written
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from lightning_gen.config.plugins import PACKAGE
from lightning_gen.errors import UserError
from lightning_gen.utilities.atomic_files import atomic_write

OPTIONS = {"nodes": "1", "gpus": "1", "time": "24:00:00", "out": "train.sbatch"}
_LIMIT = re.compile(r"(\d+-)?\d+(:\d+){0,2}")


def run(arguments: list[str]) -> int:
    """Write the script and print how to submit it."""
    options, overrides = _parsed(arguments)
    out = Path(options["out"]).expanduser()
    if out.exists():
        raise UserError(f"out={out}: is there already, name another file")
    atomic_write(out, script(int(options["nodes"]), int(options["gpus"]), options["time"], overrides))
    print(f"written to {out}; submit it: sbatch {out}")
    return 0


def script(nodes: int, gpus: int, time: str, overrides: Sequence[str]) -> str:
    """The text of the batch script; each node has a process for each of its GPUs, or one on its CPU."""
    text = (PACKAGE / "templates" / "train.sbatch").read_text()
    several = nodes * max(gpus, 1) > 1
    trainer = ["trainer=cpu", *(["trainer.strategy=ddp"] if several else [])] if gpus == 0 else []
    trainer = trainer or ["trainer=ddp" if several else "trainer=gpu", f"trainer.devices={gpus}"]
    values = {
        "NODES": str(nodes),
        "TASKS": str(max(gpus, 1)),
        "GPUS": str(gpus),
        "TIME": time,
        "TRAIN": "lightning-gen train",
        "OVERRIDES": "".join(f"{shlex.quote(word)} " for word in [*trainer, *overrides]),
    }
    for name, value in values.items():
        text = re.sub(rf"\b{name}\b" if name != "OVERRIDES" else name, lambda _, value=value: value, text)
    return text.replace("#SBATCH --gpus-per-node=0\n", "")


def _parsed(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    options, overrides = dict(OPTIONS), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in OPTIONS:
            options[key] = value
        else:
            overrides.append(argument)
    for key, least in (("nodes", 1), ("gpus", 0)):
        if not options[key].isdecimal() or int(options[key]) < least:
            raise UserError(f"{key}={options[key]}: give a number from {least}")
    if not _LIMIT.fullmatch(options["time"]):
        raise UserError(f"time={options['time']}: give a time limit such as 2:00:00 or 1-12")
    return options, overrides
