"""Ranks that torchrun has started again meet each other, and not those that have ended."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from helpers import ROOT
from torch.distributed import TCPStore

from lightning_gen.utilities import rendezvous
from lightning_gen.utilities.rendezvous import meet_anew

RANK = """
import os, signal
from lightning_gen.utilities.rendezvous import meet_anew
meet_anew()
import torch
torch.distributed.init_process_group("gloo")
total = torch.ones(1)
torch.distributed.all_reduce(total)
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if os.environ["RANK"] == "1" and attempt < 2:
    os.kill(os.getpid(), signal.SIGKILL)
torch.distributed.all_reduce(total)
if os.environ["RANK"] == "0":
    print("attempt", attempt, "total", int(total))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback")
def test_killed_ranks_of_torchrun_come_back(tmp_path):
    """Without `meet_anew` all restarts end with "Connection refused"."""
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", None)
    process = subprocess.Popen(
        [*command, "rank.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.communicate(timeout=240)[0].splitlines()[-1] == "attempt 2 total 4"
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def store():
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def greet(store: TCPStore, ports: list[str]) -> threading.Thread:
    client = TCPStore("127.0.0.1", store.port, is_master=False)
    thread = threading.Thread(target=lambda: ports.append(rendezvous._greet(client, 1)), daemon=True)
    thread.start()
    return thread


def test_greetings_of_an_earlier_start_are_forgotten(store):
    """Of two starts, in which the second rank is earlier once, and later once."""
    known: list[str] = []
    for early in (True, False):
        ports: list[str] = []
        thread = greet(store, ports) if early else None
        welcome = threading.Thread(target=lambda: known.append(rendezvous._welcome(store, 2)), daemon=True)
        welcome.start()
        thread = thread or greet(store, ports)
        for each in (thread, welcome):
            each.join(20)
        assert ports == known[-1:]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TORCHELASTIC_MAX_RESTARTS": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"},
        {"TORCHELASTIC_MAX_RESTARTS": "3", "TORCHELASTIC_USE_AGENT_STORE": "False"},
    ],
)
def test_without_restarts_nothing_changes(monkeypatch, variables):
    for name in ("TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_USE_AGENT_STORE", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    meet_anew()
    assert "MASTER_PORT" not in os.environ
