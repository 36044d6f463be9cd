"""Runs in processes of their own: killed, asked to stop, out of disk, and several that train as one."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.processes import Printing
from helpers.runs import TINY_RUN, resume, rows, run, same_weights, saved

from lightning_gen.cli import main

pytestmark = pytest.mark.slow


def test_killed_runs_end_as_undisturbed_ones():
    odd = ["trainer.max_images=1024", "callbacks.log_terms.every_steps=5"]  # checkpoints fall between two rows
    script = [sys.executable, str(ROOT / "scripts" / "kill_test.py"), "1", *TINY_RUN, *odd]
    result = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert len(report["killed_at"]) == 1
    assert report["bit_identical"] == report["runs"]


def test_a_signal_stops_the_run_which_saves_and_tells_how_to_resume(tmp_path):
    number = signal.SIGTERM  # of others: tests/cli/test_signals.py
    folder = tmp_path / "run"
    endless = ["trainer.max_images=100_000_000", "callbacks.last.every_images=100_000_000"]
    process = Printing(main, ["train", *TINY_RUN, f"run_dir={folder}", *endless], folder=tmp_path)
    process.signal_when(lambda: (folder / "metrics.csv").exists() and len(rows(folder)) >= 3, number)
    assert process.wait() == 128 + number, process.err
    assert f"stopped by {number.name} at" in process.out
    assert f"go on: lightning-gen train run_dir={folder} resume=true" in process.out
    assert "Traceback" not in process.err
    seen = saved(folder)["lightning_gen"]["images_seen"]
    resume(folder, f"trainer.max_images={seen + 64}")
    assert same_weights(folder, run(tmp_path / "straight", images=seen + 64))


def test_a_forked_child_does_not_keep_the_folder(tmp_path):
    script = (
        "import os, signal, sys, time\n"
        "from lightning_gen.training.run_folder import RunFolder; RunFolder(sys.argv[1]).claim()\n"
        "if os.fork() == 0: time.sleep(60)\n"
        "print('claimed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"claimed\n"
        process.kill()
        process.wait()
        run(tmp_path / "run", images=8)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def on_a_full_disk(arguments: list[str]) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    return main(arguments)


def test_full_disk(tiny_run, tmp_path):
    """A limit on file size stands in for it: the run ends in one line, and what was saved before is kept."""
    folder = tiny_run(images=32)
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    arguments = ["train", f"run_dir={folder}", "resume=true", "trainer.max_images=96"]
    process = Printing(on_a_full_disk, arguments, folder=tmp_path)
    assert process.wait() == 2, process.err[-2000:]
    assert "make room, then go on with resume=true" in process.err
    assert "Traceback" not in process.err
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not list(folder.rglob("*.tmp"))
