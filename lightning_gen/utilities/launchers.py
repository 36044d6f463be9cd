"""The launcher that started this process as a rank, known from its environment, before a process group exists.

Without PyTorch, so that a command can look before it imports it.
"""

import os
from importlib.util import find_spec
from typing import NamedTuple


class Launched(NamedTuple):
    """What a launcher says of this process."""

    launcher: str
    rank: int
    size: int


SWEEP = "LIGHTNING_GEN_SWEEP"  # in the environment of runs of a sweep or a search: its name
# In the environment of jobs of a multirun and of trials: the process that starts one tells its begin and its end.
ANNOUNCED = "LIGHTNING_GEN_ANNOUNCED"
RELAUNCHED = "LIGHTNING_GEN_RELAUNCHED"  # in the environment of ranks that a first one of ours has started
_Row = tuple[str, str, str, tuple[str, ...]]
# Those that Lightning knows, in its order: name, variables of rank and size, and the others that they come with.
_LAUNCHERS: tuple[_Row, ...] = (
    ("torchrun", "RANK", "WORLD_SIZE", ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS", ("SLURM_JOB_ID", "SLURM_LOCALID", "SLURM_NODEID")),
    (
        "LSF",
        "JSM_NAMESPACE_RANK",
        "JSM_NAMESPACE_SIZE",
        ("JSM_NAMESPACE_LOCAL_RANK", "LSB_JOBID", "LSB_DJOB_RANKFILE"),
    ),
    ("MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ()),
    ("MPI", "PMI_RANK", "PMI_SIZE", ()),
    # By Lightning, or by hand: the first process of each node has no LOCAL_RANK until it has started the others.
    ("the launcher", "LOCAL_RANK", "WORLD_SIZE", ("MASTER_PORT", "MASTER_ADDR")),
    ("the launcher", "NODE_RANK", "WORLD_SIZE", ("MASTER_PORT", "MASTER_ADDR")),
)
# What Lightning and PyTorch believe without the rest.
_TRUSTED = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "SLURM_NTASKS", "JSM_NAMESPACE_RANK")
_TRUSTED += ("TORCHELASTIC_RUN_ID",)


def launched() -> Launched | None:
    """What the launcher of this process says; None if no launcher has set all of its variables."""
    row = next(filter(_is_complete, _LAUNCHERS), None)
    return Launched(row[0], _rank(row[1]), int(os.environ[row[2]])) if row else None


def is_first_process() -> bool:
    """Whether this process is the first, or only, one of its run."""
    process = launched()
    return process is None or process.rank == 0


def was_restarted() -> bool:
    """Whether Slurm or torchrun has started this command before, in the same job."""
    counts = (os.environ.get(name, "") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return any(count.isdecimal() and int(count) > 0 for count in counts)


def ignore_stray_ranks() -> list[str]:
    """Remove variables of ranks that no launcher stands behind; what a user should know of, as NAME=VALUE.

    One such variable, left over in a shell, and Lightning takes a run for a part of another one.
    """
    complete = {name for row in _LAUNCHERS if _is_complete(row) for name in (row[1], row[2], *row[3])}
    if {"RANK", "LOCAL_RANK"} & complete:
        complete |= {"RANK", "GROUP_RANK", "NODE_RANK"}
    strays = {name: os.environ.pop(name) for name in _TRUSTED if name in os.environ and name not in complete}
    ranks = {name: value for name, value in strays.items() if name.endswith(("RANK", "PROCID"))}
    return [f"{name}={value}" for name, value in ranks.items() if value not in ("", "0")]


def _rank(name: str) -> int:
    rank = int(os.environ[name])
    if name != "LOCAL_RANK":
        return rank
    node = int(os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or 0)
    return rank if node == 0 else max(rank, 1)  # all that counts is which process is the first one


def _is_complete(row: _Row) -> bool:
    launcher, rank, size, others = row
    if not all(os.environ.get(name, "").isdecimal() for name in (rank, size)):
        return False
    if launcher == "Slurm" and os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return False  # a shell in an allocation, as for Lightning
    if launcher == "MPI" and find_spec("mpi4py") is None:
        return False  # Lightning asks mpi4py
    return all(os.environ.get(name) for name in others) and int(os.environ[rank]) < int(os.environ[size])
