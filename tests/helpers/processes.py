"""Functions in processes of their own, forked from one that has imported what takes seconds."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["helpers.runs", "helpers.scoring"])


def on_two_ranks(function: Callable[[int, Path, int], None], folder: Path) -> None:
    """`function(rank, folder, 2)` in two processes at once."""
    torch.multiprocessing.start_processes(function, (folder, 2), nprocs=2, start_method="forkserver")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launched(rank: int, size: int, folder: Path) -> dict[str, str]:
    """The variables of a rank that a launcher has started; its port is in the file `port` of `folder`."""
    ranks = {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(size)}
    return {**ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": (folder / "port").read_text()}


class Printing:
    """A process, and what it has printed so far, which goes to files in `folder`."""

    def __init__(self, function: Callable[..., int | None], *arguments: Any, folder: Path):
        self.files = {1: folder / "stdout.txt", 2: folder / "stderr.txt"}
        self.process = CONTEXT.Process(target=_redirected, args=(self.files, function, *arguments), daemon=True)
        self.process.start()

    @property
    def out(self) -> str:
        return self.files[1].read_text() if self.files[1].exists() else ""

    @property
    def err(self) -> str:
        return self.files[2].read_text() if self.files[2].exists() else ""

    def wait(self, seconds: float = 120) -> int | None:
        """The exit status."""
        self.process.join(seconds)
        return self.process.exitcode

    def signal_when(self, ready: Callable[[], bool], number: int, seconds: float = 120) -> None:
        """Send it a signal once `ready()` is true."""
        deadline = time.monotonic() + seconds
        while not ready() and self.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(self.process.pid, number)


def _redirected(files: dict[int, Path], function: Callable[..., int | None], *arguments: Any) -> None:
    for descriptor, path in files.items():
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    raise SystemExit(function(*arguments))
