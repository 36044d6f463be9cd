"""Jobs on a real Slurm of two nodes: what they end with, after all that a cluster does to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.scripts import script as script_named
from helpers.slurm import cluster, missing, output, wait

from lightning_gen.cli.commands.new_sbatch import script
from lightning_gen.runs.record import starts_of

pytestmark = [pytest.mark.slow, pytest.mark.tools, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

RUN = [
    *("model=mlp_vae", "data=fake", "data.image_shape=[1,16,16]", "data.num_images=256", "data.batch_size=16"),
    *("metrics=[]", "callbacks=[checkpoint,log_terms]", "trainer.max_images=8000", "trainer.steps_per_call=1"),
    *("trainer.validate_every_images=2000", "callbacks.last.every_images=320", "callbacks.last.every_minutes=null"),
]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Of the commands of a cluster."""
    with cluster() as environment:
        yield environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def whole(environment, tmp_path_factory) -> Path:
    """The run by two processes that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(environment, folder.parent, "trainer.devices=2", f"run_dir={folder}")
    return folder


def train(environment: dict[str, str], folder: Path, *overrides: str) -> None:
    command = [sys.executable, "-m", "lightning_gen", "train", *RUN, "trainer.strategy=ddp", *overrides]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=240)


def check(run: Path, whole: Path) -> None:
    """Both have the same weights, and all but the same speed and memory in metrics.csv."""
    assert list(script_named("kill_test").differences(run, whole)) == []
    assert starts_of(run)[-1]["outcome"] == "finished"


class Job:
    """A job by the batch script of `lightning-gen new-sbatch` alone, in `folder`."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        text = script(2, 0, "10", [*RUN, "logger=[csv,wandb]", "run_dir=run"])
        text = text.replace("lightning-gen train", f"{sys.executable} -m lightning_gen train")
        (folder / "train.sbatch").write_text(text)
        self.folder, self.environment = folder, environment
        self.number = self.ask("sbatch", "--parsable", "train.sbatch")
        self.last = folder / "run" / "checkpoints" / "last.ckpt"

    def ask(self, *command: str) -> str:
        options = {"cwd": self.folder, "env": self.environment, "check": True, "capture_output": True, "text": True}
        return subprocess.run(command, **options).stdout.strip()

    @property
    def log(self) -> str:
        return (self.folder / f"lightning-gen-{self.number}.log").read_text()

    def wait_for_start(self, starts: int) -> None:
        """Wait for a state that is saved in the start of this number, from 0."""
        wait(lambda: self.last.exists() if starts == 0 else self.log.count("continues run") == starts, 120)
        before = self.last.stat().st_mtime_ns
        wait(lambda: self.last.stat().st_mtime_ns != before, 120)


def test_a_job_survives_all_that_happens_to_it(tmp_path, environment, whole):
    """The warning before a time limit, a killed process, a requeue by an administrator, and a lost node."""
    job = Job(tmp_path, environment)
    job.wait_for_start(0)
    job.ask("scancel", "--signal=USR1", job.number)
    job.wait_for_start(1)
    assert f"queued again: Slurm job {job.number} continues this run" in job.log
    os.kill(process_of_rank(1, job.number), signal.SIGKILL)
    job.wait_for_start(2)
    assert "queued again" in job.log
    job.ask("scontrol", "requeue", job.number)
    job.wait_for_start(3)
    job.ask("scontrol", "update", "NodeName=node2", "State=down", "Reason=test")
    wait(lambda: is_up("node2", environment), 60)
    job.wait_for_start(4)
    wait(lambda: not output(environment, "squeue", "-h"), 180)
    assert len(list(tmp_path.glob("*/config.yaml"))) == 1
    ids = {path.name.removesuffix("-1").rpartition("-")[2] for path in (tmp_path / "run/wandb").glob("offline-run-*")}
    assert ids == {(tmp_path / "run/wandb_id.txt").read_text()}
    check(tmp_path / "run", whole)


def test_a_point_of_a_sweep_on_two_nodes(tmp_path, environment, whole):
    pytest.importorskip("submitit")
    nodes = ["launcher=slurm", "hydra.launcher.nodes=2", "hydra.launcher.timeout_min=10", "trainer.num_nodes=2"]
    train(environment, tmp_path, "-m", "seed=0", "sweep=two", *nodes)
    (config,) = tmp_path.glob("**/config.yaml")
    check(config.parent, whole)


def is_up(node: str, environment: dict[str, str]) -> bool:
    """Whether a node is in service again, to which it is returned unless it has returned by itself."""
    returned = ["scontrol", "update", f"NodeName={node}", "State=resume"]
    subprocess.run(returned, env=environment, check=False, capture_output=True)
    return "DOWN" not in output(environment, "scontrol", "show", "node", node)


def process_of_rank(rank: int, job: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = {f"SLURM_PROCID={rank}".encode(), f"SLURM_JOB_ID={job}".encode()}
        if wanted <= set(variables) and b"lightning_gen" in command:
            return int(process.name)
    raise AssertionError("no such rank")
