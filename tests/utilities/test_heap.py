"""Freed memory stays with the process of a command, and with no other process."""

import subprocess
import sys

import pytest

ALLOCATE = """
import resource, sys
from lightning_gen.utilities.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def blocks():
    for _ in range(20):
        bytearray(40_000_000)
blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
MAIN = """
import sys
from lightning_gen import cli
cli.keep_freed_memory = lambda: print("kept")
sys.argv = ["lightning-gen", COMMAND, "--help"]
cli.main(ARGUMENTS)
"""


def output(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries")
def test_pages_are_cleared_once():
    given_back, kept = (int(output(ALLOCATE, each)) for each in ("given_back", "kept"))
    assert given_back > 20 * 5_000  # 10,000 pages of 4 KiB a block, fewer where they are huge
    assert kept < given_back / 20


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [("sample", "", True), ("sample", '["sample", "--help"]', False), ("view", "", False)],
)
def test_only_processes_of_one_computation_keep_memory(command, arguments, expected):
    program = MAIN.replace("ARGUMENTS", arguments).replace("COMMAND", repr(command))
    assert ("kept" in output(program).split()) == expected
