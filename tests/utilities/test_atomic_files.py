"""Files are written whole or not at all."""

import io
import pickle

import pytest
import torch

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
