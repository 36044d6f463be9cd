"""Multiruns that are killed and started again, under each launcher; their runs are pretended (`helpers.fake_train`)."""

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.slurm import cluster, missing, wait

from lightning_gen.cli import main
from lightning_gen.runs.heartbeat import Heartbeat
from lightning_gen.runs.points import Point, hash_of, is_busy, name_of, read_points
from lightning_gen.utilities.atomic_files import place

FAKES = ROOT / "tests" / "helpers" / "fake_train"
SEEDS = ["-m", "seed=1,2,3,4,5,6", "sweep=seeds"]


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "WANDB_"))}
    paths = [str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "lightning_gen", "train", *SEEDS, *arguments],
        cwd=folder,
        env=inherited | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def seeds_of_calls(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "calls.txt").read_text().splitlines()]


def kill_at_third(folder: Path, sweep: subprocess.Popen) -> set[int]:
    """Kill a sweep, and the processes it has started, while seed 3 runs; the seeds that are finished by then."""
    wait(lambda: list(folder.glob("outputs/sweeps/seeds/seed_3-*/config.yaml")), 100)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    return {int(path.parent.name[5]) for path in folder.glob("outputs/sweeps/seeds/*/evaluation.json")}


def check_second_start(folder: Path, done: set[int], sweep: subprocess.Popen) -> None:
    before = len(seeds_of_calls(folder))
    out, err = sweep.communicate(timeout=100)
    assert sweep.returncode == 1, err
    assert {1, 2} <= done
    assert set(seeds_of_calls(folder)[before:]) == {1, 2, 3, 4, 5, 6} - done
    assert "error: 1 of 6 runs have not finished" in err
    assert "  seed_5-" in err
    assert "exit status 2; outputs/sweeps/seeds/seed_5-" in err
    assert "(5 seeds)" in out
    states = {point.name[:6]: (point.status, point.scores) for point in read_points(folder / "outputs/sweeps/seeds")}
    assert states["seed_5"] == ("failed", {})
    assert states["seed_4"] == ("finished", {"m": 4.0})
    assert {line.split()[1] for line in (folder / "calls.txt").read_text().splitlines()} == {"seeds"}


LAUNCHERS = {"local": None, "joblib": "joblib", "slurm": "submitit"}


@pytest.mark.parametrize(
    "launcher", ["local", pytest.param("joblib", marks=pytest.mark.slow)]
)
def test_a_killed_sweep_goes_on_with_what_is_left(tmp_path, launcher):
    if launcher == "joblib":
        pytest.importorskip("joblib")
    first = start(tmp_path, f"launcher={launcher}")
    done = kill_at_third(tmp_path, first)
    check_second_start(tmp_path, done, start(tmp_path, f"launcher={launcher}"))
