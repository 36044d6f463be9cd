"""Runs that go on by themselves: `resume=auto`, restarts of schedulers, and jobs that are queued again."""

import os
import signal
from pathlib import Path

import pytest
from helpers.runs import TINY_RUN, rows, run, same_weights, saved, train_with

from lightning_gen.cli import main
from lightning_gen.cli.commands.new_sbatch import script
from lightning_gen.training.requeue import batch_job, requeued
from lightning_gen.utilities.signals import Stopped


def images_of(folder: Path) -> list[int]:
    return [int(row["images"]) for row in rows(folder)]


@pytest.mark.parametrize(
    ("override", "variable"),
    [("resume=auto", ""), ("seed=0", "TORCHELASTIC_RESTART_COUNT"), ("seed=0", "SLURM_RESTART_COUNT")],
)
def test_a_restarted_command_goes_on(tmp_path, monkeypatch, override, variable):
    if variable:
        monkeypatch.setenv(variable, "1")
    folder, whole = tmp_path / "run", run(tmp_path / "whole")
    train_with(folder, *TINY_RUN, override, "trainer.max_images=32")  # no run yet: it starts
    train_with(folder, *TINY_RUN, override)
    assert saved(folder)["lightning_gen"]["images_seen"] == 64
    assert same_weights(folder, whole)
    assert images_of(folder) == images_of(whole)


def test_resume_auto_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["train", *TINY_RUN, "trainer.max_images=8", "run_dir=run", "resume=auto"]) == 0
    assert "nothing to train" in capsys.readouterr().out


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of Slurm with a `scontrol` that notes what it is asked; the job's state is in a file."""
    command = tmp_path / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n'
        f'if [ "$1" = show ]; then echo "JobId=7 JobState=$(cat {tmp_path}/state) Reason=None"; else '
        f"test ! -e {tmp_path}/refused || {{ echo no such job >&2; exit 1; }}; fi\n"
    )
    command.chmod(0o755)
    (tmp_path / "state").write_text("RUNNING")
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return tmp_path


def status(number: int, wanted: bool = True) -> int:
    """The exit status of a process whose run a signal has stopped."""
    with pytest.raises((SystemExit, Stopped)) as stop, requeued(wanted):
        raise SystemExit(128 + number)
    return stop.value.code


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def test_a_warned_job_is_queued_again(slurm):
    assert status(signal.SIGUSR1) == 0
    assert asked(slurm) == ["requeue 7"]
    with pytest.raises(SystemExit) as stop, requeued(True):
        raise Stopped(signal.SIGUSR1)  # while scoring
    assert stop.value.code == 0


@pytest.mark.parametrize(("state", "expected"), [("RUNNING", 0), ("CANCELLED", 143), ("PREEMPTED", 143)])
def test_terminated_jobs_are_queued_again_while_they_run(slurm, state, expected):
    (slurm / "state").write_text(state)
    assert status(signal.SIGTERM) == expected
    assert asked(slurm) == ["show job 7", *(["requeue 7"] if expected == 0 else [])]


@pytest.mark.parametrize(
    ("number", "wanted", "variables"),
    [
        (signal.SIGINT, True, {}),
        (signal.SIGUSR1, False, {}),
        (signal.SIGUSR1, True, {"SLURM_JOB_ID": ""}),
        (signal.SIGUSR1, True, {"SLURM_JOB_NAME": "interactive"}),
    ],
)
def test_other_processes_end_as_ever(slurm, monkeypatch, number, wanted, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert status(number, wanted) == 128 + number
    assert asked(slurm) == []


def test_only_the_first_process_asks_slurm(slurm, monkeypatch):
    for name, value in {"PROCID": "1", "NTASKS": "2", "LOCALID": "0", "NODEID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert status(signal.SIGUSR1) == 0
    assert asked(slurm) == []


def test_a_refused_requeue_is_told(slurm, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("lightning_gen"), "propagate", True)
    caplog.set_level("INFO", "lightning_gen")
    (slurm / "refused").touch()
    assert status(signal.SIGUSR1) == 138
    assert caplog.messages[-1] == "scontrol requeue 7 failed: no such job"


def test_a_task_of_an_array(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert batch_job() == "5_2"


@pytest.mark.parametrize(
    ("nodes", "gpus", "parts"),
    [
        (1, 1, ["--gpus-per-node=1", "trainer=gpu trainer.devices=1 model=vae"]),
        (2, 4, ["--nodes=2", "--ntasks-per-node=4", "trainer=ddp trainer.devices=4 model=vae"]),
        (2, 0, ["--ntasks-per-node=1", "trainer=cpu trainer.strategy=ddp model=vae"]),
    ],
)
def test_batch_script(nodes, gpus, parts):
    text = script(nodes, gpus, "1-12", ["model=vae", "data.name=a b"])
    for part in [*parts, "--time=1-12", "--signal=USR1@120", "'data.name=a b' \"$@\""]:
        assert part in text
    assert ("--gpus-per-node" in text) == (gpus > 0)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nodes=0"], "error: nodes=0: give a number from 1"),
        (["gpus=two"], "error: gpus=two: give a number from 0"),
        (["time=soon"], "error: time=soon: give a time limit"),
        (["out=there"], "error: out=there: is there already"),
    ],
)
def test_mistakes_in_a_batch_script_are_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    assert main(["new-sbatch", *arguments]) == 2
    assert capsys.readouterr().err.startswith(line)
    assert main(["new-sbatch", "model=vae"]) == 0
    assert os.access("train.sbatch", os.R_OK)
