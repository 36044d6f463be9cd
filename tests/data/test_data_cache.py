"""Decoded images on disk: the same data as without them, at a second start without opening a file of the folder."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.config.composition import compose
from lightning_gen.config.containers import as_dict
from lightning_gen.config.instantiation import build_data
from lightning_gen.data import decode
from lightning_gen.data.disk_cache import DiskCache, write_array
from lightning_gen.data.file_index import Names
from lightning_gen.data.folder import Folder
from lightning_gen.data.pixel_cache import MappedImages
from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.errors import UserError


def save(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(60):
        save(
            tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png", number, ("RGB", "RGBA", "L")[number % 3]
        )
    (tmp_path / "images" / "notes.txt").write_text("left out")
    os.symlink(tmp_path / "images" / "cat", tmp_path / "images" / "again")
    return tmp_path / "images"


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return as_dict(compose(["data=folder", "data.path=x"], "inspect").data) | {"num_workers": 0, "batch_size": 8}


@pytest.fixture
def load(images: Path, tmp_path: Path, defaults: dict[str, Any]) -> Callable[..., Folder]:
    def load(**keys: Any) -> Folder:
        cached = {"path": str(images), "cache": True, "cache_dir": str(tmp_path / "kept")}
        return build_data(defaults | cached | keys)

    return load


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []
    read = decode.ImageFiles.__getitem__

    def noted(self: decode.ImageFiles, index: int) -> torch.Tensor:
        names.append(self.paths[index].name)
        return read(self, index)

    monkeypatch.setattr(decode.ImageFiles, "__getitem__", noted)
    return names


def kept(tmp_path: Path, kind: str = "pixels") -> list[Path]:
    return sorted((tmp_path / "kept").glob(f"{kind}-*.npy"), key=lambda path: path.stat().st_mtime_ns)


def assert_equal(one: Folder, other: Folder) -> None:
    assert (one.class_names, one.contents()) == (other.class_names, other.contents())
    for split, source in one.sources.items():
        count = len(source)
        assert count == len(other.sources[split])
        for number in range(count):
            assert torch.equal(source.images[number], other.sources[split].images[number])
        if source.labels is None:
            assert other.sources[split].labels is None
        else:
            assert torch.equal(source.labels, other.sources[split].labels)
    batches = (next(iter(data.train_dataloader()))[0] for data in (one, other))
    first, second = batches
    assert torch.equal(first.images, second.images)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"size": [6, 5], "channels": 1, "resize": "pad"},
        {"labels": False, "seed": 3, "range": [10, 200]},
        {"split_by": "number", "in_memory": False},
    ],
    ids=["as files", "resized", "range", "number, streamed"],
)
def test_same_data_as_without_a_cache(load, decoded: list[str], keys: dict[str, Any]) -> None:
    plain = load(**keys, cache=False)
    first = load(**keys)
    decoded.clear()
    second = load(**keys)
    assert isinstance(second.sources["train"].images, MappedImages)
    assert isinstance(second.sources["train"], StreamSource if second.in_memory is False else TensorSource)
    assert_equal(second, first)
    assert not decoded
    assert_equal(second, plain)
    about_the_cache = second.notes.pop()
    assert "data.cache=false" in about_the_cache
    assert second.notes == plain.notes


def test_workers_that_are_not_forked_map_the_file_themselves(load) -> None:
    images = load().sources["train"].images
    content = pickle.dumps(images)
    assert len(content) < images.pixels.nbytes / 2
    assert torch.equal(pickle.loads(content)[3], images[3])


def test_only_changed_files_are_decoded_again(load, images: Path, decoded: list[str], tmp_path: Path) -> None:
    load()
    decoded.clear()
    save(images / "cat" / "0.png", 100)
    save(images / "cat" / "new.png", 101)
    os.utime(images / "dog" / "1.png", ns=(1, 1))
    (images / "dog" / "3.png").unlink()
    data = load()
    assert sorted(decoded) == ["0.png", "1.png", "new.png"]
    assert_equal(data, load(cache=False))
    assert len(kept(tmp_path)) == 2


def test_settings_that_leave_pixels_alone_share_them(load, decoded: list[str], tmp_path: Path) -> None:
    load()
    decoded.clear()
    assert_equal(load(seed=1, labels=False), load(seed=1, labels=False, cache=False))
    assert len(kept(tmp_path)) == 1
    load(size=4)
    assert len(kept(tmp_path)) == 2


def test_damaged_images_are_told_at_each_start(load, images: Path) -> None:
    (images / "cat" / "0.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(UserError, match=r"0\.png cannot be read"):
            load(size=4, channels=3)
    for _ in range(2):
        assert any("unreadable: 1 of 60" in note for note in load(skip_unreadable=True).notes)


def test_a_small_folder_is_not_kept_by_itself(load, tmp_path: Path) -> None:
    assert isinstance(load(cache="auto").sources["train"].images, torch.Tensor)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("damage", ["cut", "other", "objects", "empty"])
@pytest.mark.parametrize("kind", ["pixels", "files"])
def test_a_damaged_cache_is_written_anew(load, tmp_path: Path, kind: str, damage: str) -> None:
    plain = load(cache=False)
    load()
    (path,) = kept(tmp_path, kind)
    if damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with path.open("wb") as file:
            if damage == "objects":
                np.save(file, np.array([{"a": 1}], dtype=object))
            else:
                for _ in range(6):
                    write_array(file, np.arange(300))
    assert_equal(load(), plain)


@pytest.mark.parametrize("name", ["/etc/b.png", "../x/b.png", "a/../b.png", "a/b/../.."])
def test_names_outside_of_the_folder_are_refused(name: str) -> None:
    names = Names.of(Path("root"), [Path("a.png"), Path("..a/b..png")])
    names.check()
    assert list(names) == [Path("root/a.png"), Path("root/..a/b..png")]
    with pytest.raises(ValueError, match="damaged"):
        Names.of(Path("root"), [Path("a.png"), Path(name)]).check()


def test_least_recently_used_files_go_first_and_those_in_use_stay(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, limit=5_000)
    names = [f"pixels-{number:016x}-{number:016x}.npy" for number in range(5)]
    for number, name in enumerate(names[:4]):
        assert cache.write(name, 1_100, lambda file: write_array(file, np.zeros(1_000, np.uint8))) is None
        os.utime(tmp_path / name, (number, number))
    (tmp_path / "precious.npy").write_bytes(bytes(9_000))
    used = cache.open(names[0])  # which is the newest now
    os.utime(tmp_path / names[0], (0, 0))
    assert cache.write(names[4], 1_100, lambda file: write_array(file, np.zeros(1_000, np.uint8))) is None
    left = {path.name for path in tmp_path.glob("*.npy")}
    assert left == {names[0], names[2], names[3], names[4], "precious.npy"}
    assert "raise data.cache_gb" in DiskCache(tmp_path, 1_500).write(names[1], 1_100, print)
    assert "more than data.cache_gb" in cache.write(names[1], 6_000, print)
    del used


def test_what_cannot_be_kept_is_decoded_as_without(load, tmp_path: Path) -> None:
    data = load(cache_gb=1e-6)
    assert_equal(data, load(cache=False))
    assert "more than data.cache_gb allows" in data.notes[-1]
    shutil.rmtree(tmp_path / "kept")
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(UserError, match=r"data\.cache_dir=.* is not a folder"):
        load()


def test_another_process_waits_for_the_one_that_decodes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1_000)
    with cache.locked("pixels"), open(tmp_path / ".pixels.lock") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
