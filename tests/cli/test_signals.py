"""Signals to a command and to all of its processes: it ends with the status of the signal, in one line, and saves."""

import os
import pty
import re
import signal
import sys
import threading
import time

import pytest
from helpers.groups import Group
from helpers.processes import Printing
from helpers.runs import TINY_RUN, resume, rows, run, same_weights, saved
from PIL import Image

from lightning_gen import cli
from lightning_gen.cli import main
from lightning_gen.utilities.signals import AT_ONCE, ENDING, Stopped, handled, stop

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
ENDLESS = [*TINY_RUN, "trainer.max_images=100_000_000", "callbacks.last.every_images=100_000_000"]


def steps(folder, number=3):
    return lambda: (folder / "metrics.csv").exists() and len(rows(folder)) >= number


def resumes_exactly(folder, straight):
    seen = saved(folder)["lightning_gen"]["images_seen"]
    resume(folder, f"trainer.max_images={seen + 64}")
    return same_weights(folder, run(straight, images=seen + 64))


def works_for_a_minute() -> int:
    cli.load_run = lambda command: lambda *arguments: (print("working", flush=True), time.sleep(60))
    return main(["train"])


def test_a_command_with_nothing_to_save_ends_in_one_line(tmp_path):
    process = Printing(works_for_a_minute, folder=tmp_path)
    process.signal_when(lambda: process.out == "working\n", signal.SIGHUP)
    assert (process.wait(), process.err) == (128 + signal.SIGHUP, "stopped by SIGHUP\n")


def test_handlers_come_and_go():
    before = {number: signal.getsignal(number) for number in ENDING}
    with handled(lambda number: None):
        assert all(signal.getsignal(number) is not before[number] for number in ENDING)
    assert {number: signal.getsignal(number) for number in ENDING} == before


def test_an_ignored_sighup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_comes_twice_at_once_counts_once():
    """From the terminal, and passed on by a multirun or torchrun."""
    received = []
    with handled(received.append):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT]
        time.sleep(AT_ONCE)
        os.kill(os.getpid(), signal.SIGINT)
        assert received == [signal.SIGINT] * 2


def test_nothing_is_taken_over_in_a_thread():
    failed = []

    def in_thread():
        try:
            with handled(stop):
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert not failed


def test_stopped_is_not_an_error():
    assert not issubclass(Stopped, (Exception, KeyboardInterrupt))
    assert (str(Stopped(signal.SIGINT)), Stopped(signal.SIGINT).status) == ("interrupted", 130)


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_to_a_multirun_ends_its_job_and_starts_no_other(tmp_path, number, to_all):
    command = ["train", "-m", *ENDLESS, "seed=1,2", "run_dir=run_${seed}"]
    with Group(*command, cwd=tmp_path) as group:
        group.wait_for(steps(tmp_path / "run_1"))
        group.signal(number, to_all)
        status = group.wait()
        assert status == 128 + number, group.err
    told = "interrupted" if number == signal.SIGINT else "stopped by SIGTERM"
    assert re.fullmatch(rf"{told}; the same command with sweep=\S+ runs what is left\n", group.err)
    assert group.out.count("go on: lightning-gen train run_dir=run_1 resume=true") == 1
    assert not (tmp_path / "run_2").exists()
    seen = saved(tmp_path / "run_1")["lightning_gen"]["images_seen"]
    assert f"at {seen:,} images" in group.out


def test_a_closed_terminal_loses_nothing(tmp_path):
    """All output fails from then on; one that is under nohup goes on."""
    terminal, end = pty.openpty()
    folder = tmp_path / "run"
    with Group("train", *ENDLESS, f"run_dir={folder}", cwd=tmp_path, streams=end) as group:
        os.close(end)
        group.wait_for(steps(folder))
        os.close(terminal)
        group.signal(signal.SIGHUP)
        assert group.wait() == 128 + signal.SIGHUP
    assert resumes_exactly(folder, tmp_path / "straight")


def test_nohup(tmp_path):
    folder = tmp_path / "run"
    with Group("train", *ENDLESS, f"run_dir={folder}", cwd=tmp_path, nohup=True) as group:
        group.wait_for(steps(folder))
        group.signal(signal.SIGHUP)
        seen = len(rows(folder))
        group.wait_for(steps(folder, seen + 5))
        group.signal(signal.SIGTERM)
        assert group.wait() == 143


def test_data_workers_leave_a_signal_to_the_run(tmp_path):
    """A terminal and a scheduler signal all processes of a run."""
    images, folder = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    for index in range(40):
        Image.new("L", (12, 12), index * 6).save(images / f"{index}.png")
    data = ["data=folder", f"data.path={images}", "data.size=12", "data.channels=1", "data.in_memory=false"]
    options = [option for option in ENDLESS if not option.startswith(("data=", "data.image_shape", "data.num_images"))]
    with Group("train", *options, *data, "data.num_workers=2", f"run_dir={folder}", cwd=tmp_path) as group:
        group.wait_for(steps(folder))
        assert len(group.alive()) >= 3
        group.signal(signal.SIGINT, to_all=True)
        status = group.wait()
        assert status == 128 + signal.SIGINT, group.err
    assert group.err == ""
    assert group.out.count("go on:") == 1
    assert saved(folder)["lightning_gen"]["images_seen"] > 0


def two_ranks(tmp_path):
    command = ["train", *TINY_RUN, "trainer.max_images=100_000_000", "trainer.devices=2", "trainer.strategy=ddp"]
    return Group(*command, "run_dir=run", cwd=tmp_path)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_rank_is_told_in_one_line(tmp_path, dead):
    with two_ranks(tmp_path) as group:
        group.wait_for(lambda: (tmp_path / "run" / "checkpoints" / "last.ckpt").exists())
        (second,) = group.named("LIGHTNING_GEN_RELAUNCHED", "LOCAL_RANK=1")
        pid = second if dead else group.process.pid
        os.kill(pid, signal.SIGKILL)
        assert group.wait() == (2 if dead else -signal.SIGKILL)
    how = "was killed by SIGKILL" if dead else "died"
    assert group.err.startswith(f"error: rank {dead} ({os.uname().nodename}, pid {pid}) {how}, at ")
    assert group.err.endswith(" images; go on: lightning-gen train run_dir=run resume=true\n")
    assert group.err.count("\n") == 1


@pytest.mark.slow
def test_a_second_ctrl_c_ends_two_ranks_at_once(tmp_path):
    """Also when a rank hangs, for which the other waits."""
    with two_ranks(tmp_path) as group:
        group.wait_for(steps(tmp_path / "run"))
        (second,) = group.named("LIGHTNING_GEN_RELAUNCHED", "LOCAL_RANK=1")
        os.kill(second, signal.SIGSTOP)
        time.sleep(0.5)
        group.signal(signal.SIGINT, to_all=True)
        time.sleep(2 * AT_ONCE)
        if group.process.poll() is None:
            group.signal(signal.SIGINT, to_all=True)
        assert group.wait() == 130
    assert group.err == "interrupted\n"


def test_a_killed_data_worker_is_told_in_one_line(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for index in range(40):
        Image.new("L", (12, 12), index * 6).save(images / f"{index}.png")
    data = ["data=folder", f"data.path={images}", "data.size=12", "data.channels=1", "data.in_memory=false"]
    options = [option for option in ENDLESS if not option.startswith(("data=", "data.image_shape", "data.num_images"))]
    with Group("train", *options, *data, "data.num_workers=2", "run_dir=run", cwd=tmp_path) as group:
        group.wait_for(steps(tmp_path / "run"))
        os.kill(max(group.alive()), signal.SIGKILL)
        assert group.wait() == 2
    # By chance there is more: Python tells of an error that PyTorch raises in a destructor, and another worker of its
    # connection to the dead one.
    lines = [line for line in group.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: data.num_workers: DataLoader worker")
