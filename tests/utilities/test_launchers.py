"""Ranks of launchers, and variables that nobody stands behind."""

import os
from importlib.util import find_spec

import pytest
from helpers.commands import run_command
from helpers.runs import TINY_RUN, rows

from lightning_gen.errors import UserError
from lightning_gen.trainer import check_world_size
from lightning_gen.utilities import launchers
from lightning_gen.utilities.launchers import ignore_stray_ranks, is_first_process, launched

ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
TORCHRUN = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "GROUP_RANK": "1", "TORCHELASTIC_RUN_ID": "a", **ADDRESS}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NTASKS": "2"}
SLURM |= {"SLURM_JOB_NAME": "train.sh", "SLURM_STEP_ID": "0"}
LSF = {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1"}
LSF |= {"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "hosts"}
LIGHTNING = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", **ADDRESS}
SECOND_NODE = {"NODE_RANK": "1", "WORLD_SIZE": "2", **ADDRESS}
NAMES = {name for row in launchers._LAUNCHERS for name in (row[1], row[2], *row[3])} | set(launchers._TRUSTED)


@pytest.fixture
def environment(monkeypatch):
    for name in NAMES | {"SLURM_JOB_NAME", "SLURM_STEP_ID"}:
        monkeypatch.delenv(name, raising=False)

    def set_all(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("variables", "rank", "size"),
    [(TORCHRUN, 3, 4), (SLURM, 1, 2), (LSF, 1, 2), (LIGHTNING, 1, 2), (SECOND_NODE, 1, 2)],
)
def test_a_rank_of_each_launcher_is_believed(environment, variables, rank, size):
    environment(variables)
    process = launched()
    assert process is not None
    assert (process.rank, process.size) == (rank, size)
    assert not is_first_process()
    assert ignore_stray_ranks() == []
    assert variables.items() <= os.environ.items()


def test_the_first_process_of_the_second_node_is_not_the_first_of_all(environment):
    environment(LIGHTNING | {"NODE_RANK": "1", "LOCAL_RANK": "0"})
    assert not is_first_process()


@pytest.mark.parametrize(
    "name", ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"]
)
def test_a_stray_rank_is_ignored_and_named(environment, name):
    environment({name: "1"})
    assert launched() is None
    assert is_first_process()
    assert ignore_stray_ranks() == [f"{name}=1"]
    assert name not in os.environ


@pytest.mark.parametrize("variables", [SLURM, LSF, LIGHTNING])
def test_a_launcher_needs_all_its_variables(environment, variables, monkeypatch):
    for missing in sorted(NAMES & set(variables) - {"NODE_RANK"}):
        with monkeypatch.context() as patch:
            environment(variables)
            patch.delenv(missing)
            assert is_first_process(), missing


def test_a_shell_in_an_allocation_is_no_rank(environment):
    """`srun --pty bash`, and `salloc`, which sets no rank at all."""
    environment(SLURM | {"SLURM_JOB_NAME": "bash"})
    assert is_first_process()
    assert ignore_stray_ranks() == ["SLURM_PROCID=1"]
    environment(SLURM | {"SLURM_JOB_NAME": "zsh"})
    os.environ.pop("SLURM_PROCID")
    assert ignore_stray_ranks() == []
    assert "SLURM_NTASKS" not in os.environ  # for Lightning a sign of srun


def test_a_stray_rank_beside_a_launcher(environment):
    environment(SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "LOCAL_RANK": "1"})
    assert is_first_process()
    assert ignore_stray_ranks() == ["LOCAL_RANK=1"]


@pytest.mark.skipif(find_spec("mpi4py") is not None, reason="then Lightning uses it")
def test_mpi_without_mpi4py_starts_single_processes(environment):
    environment({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"})
    assert is_first_process()


@pytest.mark.parametrize("text", ["-1", "one", "", "2"])
def test_what_is_no_rank(environment, text):
    environment(LIGHTNING | {"LOCAL_RANK": text})
    assert is_first_process()


def test_a_launcher_and_a_trainer_of_other_sizes(environment):
    check_world_size(1)
    environment(SLURM)
    check_world_size(2)
    with pytest.raises(UserError, match=r"Slurm has started 2 processes, and the trainer has 1; set"):
        check_world_size(1)
    environment(SLURM | {"SLURM_PROCID": "0"})
    os.environ.pop("SLURM_STEP_ID")
    check_world_size(1)  # a batch script without srun


@pytest.mark.slow
def test_a_stray_rank_overwrites_no_run(tmp_path):
    command = ["train", *TINY_RUN, "trainer.max_images=32", "run_dir=run"]
    stray = {"RANK": "1"}
    first = run_command(*command, cwd=tmp_path, **stray)
    assert first.returncode == 0, first.stderr
    assert "RANK=1 in the environment is ignored" in first.stderr
    assert rows(tmp_path / "run")[-1]["images"] == "32"
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes()
    second = run_command(*command, cwd=tmp_path, **stray)
    assert second.returncode == 2
    assert "holds a run already" in second.stderr
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").read_bytes() == before
