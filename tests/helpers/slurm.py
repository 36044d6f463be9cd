"""A real Slurm of two nodes on this machine, which listens on loopback alone."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_gen.utilities.atomic_files import is_alive

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol")
NODES = ("node1", "node2")
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1
SlurmdParameters=config_overrides
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ReturnToService=2
KillWait=5
SwitchType=switch/none
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=node[1-2] Default=YES MaxTime=60 State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here; None if there can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(absent)}: make tools" if absent else None


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Within it two nodes are up; yields the environment of their commands."""
    # In a folder of its own: the paths of its sockets must be short.
    with (
        tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as folder,
        _up(Path(folder)) as environment,
    ):
        yield environment


@contextmanager
def _up(folder: Path) -> Iterator[dict[str, str]]:
    for name in ("state", "run", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    user = os.environ.get("USER") or "root"
    values = {"host": socket.gethostname().partition(".")[0], "user": user, "folder": folder, "ports": _free_ports(3)}
    (folder / "slurm.conf").write_text(CONFIG.format(**values))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    try:
        for command in (["slurmctld", "-i"], *(["slurmd", "-N", node] for node in NODES)):
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=30)
        wait(lambda: output(environment, "sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split() == list(NODES), 30)
        yield environment
    finally:
        jobs = output(environment, "squeue", "-h", "-o", "%A").split()
        if jobs:
            subprocess.run(["scancel", *jobs], env=environment, capture_output=True)
            with suppress(AssertionError):
                wait(lambda: not output(environment, "squeue", "-h"), 20)
        daemons = [int(file.read_text()) for file in folder.glob("run/*.pid")]
        for process in daemons:
            with suppress(ProcessLookupError):
                os.kill(process, 15)
        with suppress(AssertionError):  # they write until they are gone
            wait(lambda: not any(map(is_alive, daemons)), 20)


def output(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout


def wait(ready, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    # Below 15000: those above are for the ranks of jobs.
    ports = []
    for port in range(7100 + os.getpid() % 500 * 10, 15000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                ports.append(port)
        if len(ports) == count:
            break
    return ports
