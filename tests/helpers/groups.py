"""The command with its processes in a session of their own, as a terminal or a scheduler signals them (Linux)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from helpers import ROOT


class Group:
    """`python -m lightning_gen <arguments>` in the folder `cwd`, and what it prints, in files there."""

    def __init__(self, *arguments: str, cwd: Path, nohup: bool = False, streams: int | None = None):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "helpers")))
        command = [sys.executable, "-m", "lightning_gen", *arguments]
        self.files = cwd / "out.txt", cwd / "err.txt"
        with self.files[0].open("w") as out, self.files[1].open("w") as err:
            self.process = subprocess.Popen(
                ["nohup", *command] if nohup else command,
                cwd=cwd,
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out if streams is None else streams,
                stderr=err if streams is None else streams,
                start_new_session=True,
            )

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(20)

    @property
    def out(self) -> str:
        return self.files[0].read_text()

    @property
    def err(self) -> str:
        return self.files[1].read_text()

    def alive(self) -> list[int]:
        """Its processes that have not ended."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._has(pid)]

    def _has(self, pid: int) -> bool:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False
        return int(fields[3]) == self.process.pid and fields[0] != "Z"

    def named(self, *words: str) -> list[int]:
        """Those with each of the words in their command line or environment."""
        return [pid for pid in self.alive() if all(word in self._text(pid) for word in words)]

    def _text(self, pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()

    def wait_for(self, ready: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, self.out + self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.05)

    def signal(self, number: int, to_all: bool = False) -> None:
        (os.killpg if to_all else os.kill)(self.process.pid, number)

    def wait(self, seconds: float = 60) -> int:
        """The exit status, once none of its processes is left."""
        status = self.process.wait(seconds)
        deadline = time.monotonic() + 20
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.alive(), "orphans"
        return status
