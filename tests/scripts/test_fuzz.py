"""The fuzz script: what it counts, what it finds, and what it leaves behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

pytestmark = pytest.mark.slow

FUZZ = ROOT / "scripts" / "fuzz.py"
PLANTED = """
import runpy, sys
from lightning_gen.cli.commands import list as command
ways = {{
    "traceback": lambda arguments: 1 / 0,
    "status": lambda arguments: 3,
    "outside": lambda arguments: open({outside!r}, "w").close() or 0,
    "changed": lambda arguments: open("files/notes.txt", "w").close() or 0,
    "signal": lambda arguments: __import__("os").abort(),
}}
command.run = ways[sys.argv.pop(1)]
sys.argv[0] = {fuzz!r}
runpy.run_path({fuzz!r}, run_name="__main__")
"""


def fuzz(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


def test_tries_of_commands_that_end_well(tmp_path):
    done = fuzz(tmp_path, str(FUZZ), "only=list,new-plugin", "tries=5", "seed=1")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["tries"], report["failures"], report["long"]) == (10, 0, 0)
    assert report["tries_per_kind"] == {"list": 5, "new-plugin": 5}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("way", "named"),
    [
        ("traceback", "ZeroDivisionError in"),
        ("status", "exit status 3"),
        ("outside", "wrote outside its folder"),
        ("changed", "list changed files/notes.txt"),
        ("signal", "death by SIGABRT"),
    ],
)
def test_a_planted_bug_is_found(way, named, tmp_path):
    outside = tmp_path / "outside"
    script = PLANTED.format(fuzz=str(FUZZ), outside=str(outside))
    done = fuzz(tmp_path, "-c", script, way, "only=list", "tries=2")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["failures"], report["distinct"]) == (2, 1)
    assert f"FAILED: {named}" in done.stderr
    if way == "traceback":
        repeat = re.search(r"fuzz.py (only=list seed=0 case=\d+)", done.stderr)[1].split()
        again = fuzz(tmp_path, "-c", script, way, *repeat)
        assert again.returncode == 1
        assert named in again.stdout
    assert not list(tmp_path.iterdir())
