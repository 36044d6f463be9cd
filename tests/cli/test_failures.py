"""Failures of the machine end in one line with the file and the fix, bugs in a traceback."""

import errno
import json
import logging

import pytest
from helpers.tiny_models import TINY_VAE, write_checkpoint

from lightning_gen import cli
from lightning_gen.cli import main
from lightning_gen.cli.failures import explain_failure
from lightning_gen.utilities import atomic_files
from lightning_gen.utilities.printable import printable


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "last.ckpt"
    write_checkpoint(path, *TINY_VAE)
    return path


def failure(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("error: ").strip()


def raising(error: BaseException):
    def run(job):
        raise error

    return lambda command: run


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b: No space left on device; make room, or name"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "/a/b: Read-only file system; name a folder that can"),
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: Too many open files; raise the limit with `ulimit -n"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: Permission denied; change its permissions"),
        (OSError("cannot identify image"), "OSError: cannot identify image"),
        (MemoryError(), "sample: out of memory (MemoryError); give a smaller n or batch_size"),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate memory: you"), "sample: out of memory ([x] Default"),
        (
            RuntimeError("grid_sampler_2d_backward_cuda does not have a deterministic implementation, but"),
            "trainer.deterministic=true: grid_sampler_2d_backward_cuda has no deterministic form on this device; use "
            "trainer.deterministic=warn",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "sample: out of memory (CUDA out of"),
    ],
)
def test_a_failure_is_one_line(error, line, monkeypatch, capsys):
    monkeypatch.setattr(cli, "load_run", raising(error))
    assert failure(capsys, "sample", "checkpoint=zoo:a").startswith(line)


def test_the_cause_counts_too(monkeypatch, capsys):
    error = RuntimeError("error in calling a target")
    error.__cause__ = FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b")
    monkeypatch.setattr(cli, "load_run", raising(error))
    assert failure(capsys, "sample", "checkpoint=zoo:a").startswith("/a/b: No such file or directory; make its folder")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), KeyError("a"), ValueError("b")])
def test_a_bug_keeps_its_traceback(error, monkeypatch):
    monkeypatch.setattr(cli, "load_run", raising(error))
    with pytest.raises(type(error)):
        main(["sample", "checkpoint=zoo:a"])


def test_training_is_told_of_its_batch_size():
    assert "give a smaller data.batch_size" in explain_failure(MemoryError(), "train")


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("missing/deep/table.csv", "No such file or directory; make its folder"),
        ("a.txt/table.csv", "Not a directory; a part of its path is a file"),
        ("x" * 300 + ".csv", "File name too long; give a shorter name"),
    ],
)
def test_files_that_cannot_be_written(out, reason, tmp_path, capsys):
    (tmp_path / "a.txt").touch()
    from evaluation.test_comparison import evaluation

    (tmp_path / "evaluation.json").write_text(json.dumps([evaluation(1.0)]))
    line = failure(capsys, "compare", str(tmp_path), f"out={tmp_path / out}")
    assert line.startswith(f"{tmp_path / out}: {reason}")


def test_names_that_are_too_long(tmp_path, checkpoint, capsys):
    long = str(tmp_path / ("x" * 300))
    for arguments in (["checkpoint=" + long], [f"checkpoint={checkpoint}", "out=" + long]):
        assert failure(capsys, "sample", *arguments).startswith(f"{long}: File name too long")


def test_a_full_disk_names_the_file(tmp_path, checkpoint, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    line = failure(capsys, "sample", f"checkpoint={checkpoint}", "n=1", f"out={tmp_path / 'out'}")
    file = tmp_path / "out-unfinished" / "images" / "000000.png"
    assert line == f"{file}: No space left on device; make room, or name another folder"
    assert not file.parents[1].exists()


def test_control_characters_are_not_printed(tmp_path, capsys, caplog):
    name = "a\x1b[31m\nb\u202e\x07"
    assert printable(name) == r"a\x1b[31m\nb\u202e\x07"
    assert printable("Fréchet ± ≈ ↓ 猫") == "Fréchet ± ≈ ↓ 猫"
    assert main(["sample", f"checkpoint='{tmp_path}/\x1b[31mred'"]) == 2
    error = capsys.readouterr().err
    assert "\\x1b[31mred" in error
    assert "\x1b" not in error
    log = logging.getLogger("lightning_gen")
    record = log.makeRecord(log.name, logging.INFO, "", 0, "classes: %s", (name,), None)
    assert log.filter(record)
    assert record.getMessage() == r"classes: a\x1b[31m\nb\u202e\x07"
