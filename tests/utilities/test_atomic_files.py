"""Files are written whole or not at all."""

import io
import os
import pickle
import subprocess
import time

import pytest
import torch

from lightning_gen.utilities import atomic_files
from lightning_gen.utilities.atomic_files import atomic_save, atomic_write


@pytest.mark.parametrize("content", ["grün\n", "grün\n".encode(), lambda file: file.write("grün\n".encode())])
def test_atomic_write_replaces(tmp_path, content):
    path = tmp_path / "a.txt"
    for _ in range(2):
        atomic_write(path, content)
        assert path.read_bytes() == "grün\n".encode()
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_the_old_file_stays_when_writing_fails_midway(tmp_path):
    def fail(file):
        file.write(b"new" * 100_000)
        assert path.read_text() == "old"
        raise OSError("disk full")

    path = tmp_path / "a.txt"
    atomic_write(path, "old")
    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_save_leaves_no_file(tmp_path):
    with pytest.raises((AttributeError, pickle.PicklingError)):
        atomic_save({"model": lambda: None}, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_atomic_save_is_torch_save(tmp_path):
    content = {"a": torch.arange(5), "b": ["text", 1, None, 0.5]}
    atomic_save(content, tmp_path / "a.ckpt")
    loaded = torch.load(io.BytesIO((tmp_path / "a.ckpt").read_bytes()), weights_only=True)
    assert torch.equal(loaded.pop("a"), content.pop("a"))
    assert loaded == content


def test_leftovers_of_killed_processes(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    here, alive, old = atomic_files.place(), os.getpid(), time.time() - atomic_files.OLD - 60
    kept = {
        f".a.ckpt.{here}.{alive}.tmp",  # being written
        f".a.ckpt.00000000.{dead.pid}.tmp",  # on another host
        f".a.ckpt.{dead.pid}.tmp",  # of a version that named no host
        f"a.ckpt.{here}.{dead.pid}.tmp",  # a user's
        f".a.{here}.tmp",
        "a.ckpt",
    }
    left = {
        f".a.ckpt.{here}.{dead.pid}.tmp": None,
        f".a.b c.json.{here}.{2**80}.tmp": None,
        f".b.ckpt.00000000.{alive}.tmp": old,
        f".b.ckpt.{alive}.tmp": old,
    }
    for name in (*kept, *left):
        (tmp_path / name).write_text("part")
        if left.get(name):
            os.utime(tmp_path / name, (old, old))
    (tmp_path / f".folder.{here}.{dead.pid}.tmp").mkdir()
    atomic_files.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept | {f".folder.{here}.{dead.pid}.tmp"}
    atomic_files.remove_leftovers(tmp_path / "nowhere")


def test_files_being_written_have_names_that_are_known(tmp_path):
    names = []
    atomic_write(tmp_path / "a.b", lambda file: names.extend(path.name for path in tmp_path.iterdir()))
    (match,) = (atomic_files._TEMPORARY.fullmatch(name) for name in names)
    assert (match["place"], match["pid"]) == (atomic_files.place(), str(os.getpid()))
