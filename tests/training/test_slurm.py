"""Jobs on a real Slurm, by the batch script of `lightning-gen new-sbatch` alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.runs import rows, same_weights
from helpers.slurm import cluster, missing, output, wait

from lightning_gen.cli.commands.new_sbatch import script
from lightning_gen.runs.record import starts_of

pytestmark = [pytest.mark.slow, pytest.mark.tools, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

RUN = [
    *("model=mlp_vae", "data=fake", "data.image_shape=[1,16,16]", "data.num_images=256", "data.batch_size=16"),
    *("metrics=[]", "callbacks=[checkpoint]", "trainer.max_images=4000", "trainer.validate_every_images=1000"),
    *("callbacks.last.every_images=320", "trainer.steps_per_call=1", "callbacks.last.every_minutes=null"),
]


def test_a_job_survives_its_time_limit_and_a_killed_process(tmp_path):
    text = script(2, 0, "10", [*RUN, "run_dir=run"])
    text = text.replace("lightning-gen train", f"{sys.executable} -m lightning_gen train")
    (tmp_path / "train.sbatch").write_text(text)
    with cluster() as environment:
        environment["PYTHONPATH"] = str(ROOT)
        options = {"cwd": tmp_path, "env": environment, "check": True, "capture_output": True, "text": True}
        job = subprocess.run(["sbatch", "--parsable", "train.sbatch"], **options).stdout.strip()
        log = tmp_path / f"lightning-gen-{job}.log"
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"

        wait(last.exists, 120)
        subprocess.run(["scancel", "--signal=USR1", job], **options)
        wait(lambda: "continues run" in log.read_text(), 120)
        assert f"queued again: Slurm job {job} continues this run" in log.read_text()

        before = last.stat().st_mtime_ns
        wait(lambda: last.stat().st_mtime_ns != before, 120)
        os.kill(process_of_rank(1, job), signal.SIGKILL)
        wait(lambda: log.read_text().count("continues run") == 2, 120)
        assert "queued again" in log.read_text()
        wait(lambda: not output(environment, "squeue", "-h"), 180)
    whole = [*RUN, "trainer.devices=2", "trainer.strategy=ddp", "run_dir=whole"]
    command = [sys.executable, "-m", "lightning_gen", "train", *whole]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=180)
    assert starts_of(tmp_path / "run")[-1]["outcome"] == "finished"
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    losses = [[row["val/loss"] for row in rows(tmp_path / name)] for name in ("run", "whole")]
    assert losses[0] == losses[1]


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
