"""The command in this process and in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT
from lightning_gen.cli import main


def run_command(
    *arguments: str, cwd: Path, path: Path | str | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """`python -m lightning_gen <arguments>` in the folder `cwd`; `path` goes first on its path."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "LIGHTNING_GEN_", "HYDRA_"))}
    python_path = os.pathsep.join(str(p) for p in (path, ROOT) if p)
    return subprocess.run(
        [sys.executable, "-m", "lightning_gen", *arguments],
        cwd=cwd,
        env=inherited | {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The one line of error that `train` ends in, in this process."""
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error
