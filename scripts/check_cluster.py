"""Kills ranks of real torchrun and Slurm runs at random, and compares what they end with to undisturbed runs.

`python scripts/check_cluster.py [kills=24] [seed=0]` prints a line of JSON for each run, and one with their sum. A run
has four kills, half of them in the ranks' first seconds; two more runs get each of Slurm's other disturbances: the
warning before a time limit, a shorter limit, `scontrol requeue` and a node that goes down. Compared are the weights,
bit for bit, and metrics.csv. It needs slurmctld, slurmd and slurm-client of Debian, and about an hour of a core.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")]

from helpers.slurm import cluster  # noqa: E402
from kill_test import changed, differences  # noqa: E402

from lightning_gen.cli.commands.new_sbatch import script  # noqa: E402

MODELS = {"vae": "mlp_vae", "gan": "gan"}
RUN = [
    *("data=fake", "data.image_shape=[1,16,16]", "data.num_images=256", "data.batch_size=16", "metrics=[]"),
    *("callbacks=[checkpoint,log_terms]", "callbacks.last.every_images=640", "callbacks.last.every_minutes=null"),
    *("trainer.max_images=12000", "trainer.validate_every_images=4000", "trainer.steps_per_call=1"),
]
TWO = ["trainer.devices=2", "trainer.strategy=ddp"]
EACH = 4  # kills of a run: the batch script of Slurm queues a failed job again five times
PATIENCE = 900.0  # seconds for a start


def overrides(model: str, folder: Path) -> list[str]:
    """Those of a run in `folder`."""
    return [f"model={MODELS[model]}", *RUN, f"run_dir={folder}"]


def wait(ready: Callable[[], object]) -> object:
    """What `ready` gives once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (result := ready()):
        if time.monotonic() > deadline:
            sys.exit("not in time")
        time.sleep(0.05)
    return result


class Torchrun:
    """A run of two ranks under torchrun."""

    def __init__(self, folder: Path, model: str, environment: dict[str, str]):
        self.folder = folder
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command = [*torchrun, f"--max-restarts={EACH + 1}", "-m", "lightning_gen", "train"]
        with open(f"{folder}.log", "w") as log:
            self.process = subprocess.Popen(
                [*command, *overrides(model, folder), *TWO], env=environment, stdout=log, stderr=log
            )

    def is_over(self) -> bool:
        """Whether the command has ended."""
        return self.process.poll() is not None

    def is_rank(self, variables: dict[str, str], rank: int) -> bool:
        """Whether a process with these variables is that rank."""
        return variables.get("RANK") == str(rank)


class Slurm:
    """A run of two ranks on two nodes of Slurm, by the batch script of `lightning-gen new-sbatch`."""

    def __init__(self, folder: Path, model: str, environment: dict[str, str]):
        self.folder, self.environment = folder, environment
        text = script(2, 0, "50", overrides(model, folder))
        text = text.replace("lightning-gen train", f"{sys.executable} -m lightning_gen train")
        Path(f"{folder}.sbatch").write_text(text)
        self.job = self.ask("sbatch", "--parsable", f"--output={folder}.log", f"{folder}.sbatch")

    def ask(self, *command: str) -> str:
        """The output of a command of Slurm."""
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def is_over(self) -> bool:
        """Whether the job has ended."""
        return not self.ask("squeue", "-h")

    def is_rank(self, variables: dict[str, str], rank: int) -> bool:
        """Whether a process with these variables is that rank."""
        return variables.get("SLURM_PROCID") == str(rank) and variables.get("SLURM_STEP_ID", "").isdecimal()

    def facts(self) -> dict[str, str]:
        """What Slurm knows of the job, such as `JobState`."""
        words = self.ask("scontrol", "show", "job", self.job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def disturb(self, kind: str) -> None:
        """Do what a cluster does to jobs, and wait until the job runs again."""
        before = self.facts()
        minutes = int(before["RunTime"].split(":")[1]) + 2  # the job is warned as long before its limit
        commands = {
            "warning": ["scancel", "--signal=USR1", self.job],
            "limit": ["scontrol", "update", f"JobId={self.job}", f"TimeLimit={minutes}"],
            "requeue": ["scontrol", "requeue", self.job],
            "node": ["scontrol", "update", "NodeName=node2", "State=down", "Reason=test"],
        }
        self.ask(*commands[kind])
        wait(lambda: self.facts()["Restarts"] != before["Restarts"])
        if kind == "limit":
            self.ask("scontrol", "update", f"JobId={self.job}", "TimeLimit=50")
        if kind == "node":
            self.ask("scontrol", "update", "NodeName=node2", "State=resume")
        wait(lambda: self.facts()["JobState"] == "RUNNING")  # no process of the last start is left


def processes_of(run: Torchrun | Slurm, rank: int) -> Iterator[int]:
    """The process of a rank, if there is one now."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            entries = (process / "environ").read_text(errors="replace").split("\0")
            command = (process / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        variables = {name: value for name, _, value in (entry.partition("=") for entry in entries)}
        if command[0] == sys.executable and f"run_dir={run.folder}" in command and run.is_rank(variables, rank):
            yield int(process.name)


def kill_at_random(run: Torchrun | Slurm, chance: random.Random, early: bool) -> dict[str, object]:
    """Kill a random rank, in its first seconds, or after it has saved its state."""
    last, rank = run.folder / "checkpoints" / "last.ckpt", chance.randrange(2)
    wait(lambda: list(processes_of(run, rank)))
    before = changed(last)
    if not early:
        wait(lambda: changed(last) != before)
    seconds = chance.uniform(0, 3)
    time.sleep(seconds)
    for process in processes_of(run, rank):
        os.kill(process, signal.SIGKILL)
        wait(lambda process=process: not Path("/proc", str(process)).exists())
        return {"rank": rank, "early": early, "after_s": round(seconds, 2)}
    return {}


def disturbed(run: Torchrun | Slurm, chance: random.Random, straight: Path) -> dict[str, object]:
    """Kill ranks of a run, then what it has ended with."""
    kills: list[dict[str, object]] = []
    while len(kills) < EACH and not run.is_over():
        if kill := kill_at_random(run, chance, early=len(kills) % 2 == 1):
            kills.append(kill)
    wait(run.is_over)
    return {"kills": kills, "differs": list(differences(run.folder, straight))}


def troubled(run: Slurm, straight: Path) -> dict[str, object]:
    """Give a job all other disturbances of Slurm, each after it has saved its state."""
    last = run.folder / "checkpoints" / "last.ckpt"
    kinds = ["warning", "node", "requeue", "limit"]
    for kind in kinds:
        before = changed(last)
        wait(lambda before=before: changed(last) != before)
        run.disturb(kind)
    wait(run.is_over)
    return {"disturbances": kinds, "differs": list(differences(run.folder, straight))}


def main(kills: int, seed: int) -> int:
    """Print what came out; 1 if a run has ended otherwise than the undisturbed one."""
    chance, results = random.Random(seed), []
    with tempfile.TemporaryDirectory() as root, cluster() as environment:
        environment["PYTHONPATH"] = str(ROOT)
        straight = {}
        for model in MODELS:
            straight[model] = Path(root, f"straight_{model}")
            command = [sys.executable, "-m", "lightning_gen", "train", *overrides(model, straight[model]), *TWO]
            subprocess.run(command, env=environment, check=True, capture_output=True)
        kinds = [(launcher, model) for launcher in (Torchrun, Slurm) for model in MODELS]
        for number in range(-(-kills // EACH)):
            launcher, model = kinds[number % len(kinds)]
            run = launcher(Path(root, str(number)), model, environment)
            results.append(disturbed(run, chance, straight[model]))
            print(json.dumps({"launcher": launcher.__name__, "model": model, **results[-1]}), flush=True)
        for model in MODELS:
            results.append(troubled(Slurm(Path(root, f"troubled_{model}"), model, environment), straight[model]))
            print(json.dumps({"launcher": "Slurm", "model": model, **results[-1]}), flush=True)
    done = sum(len(result.get("kills", [])) for result in results)  # pyrefly: ignore[bad-argument-type]
    equal = sum(not result["differs"] for result in results)
    print(json.dumps({"check": "cluster", "kills": done, "runs": len(results), "bit_identical": equal}))
    return int(equal != len(results))


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    sys.exit(main(int(given.get("kills", 24)), int(given.get("seed", 0))))
