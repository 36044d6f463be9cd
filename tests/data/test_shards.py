"""`convert` and `data=shards`: the same data, order and splits as the folder, in tar files that others read."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.cli.commands import convert
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.containers import as_dict
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.loader import TrainBatches
from lightning_gen.data.pixel_cache import MappedImages
from lightning_gen.errors import UserError

SIZE = {"size": [6, 8], "channels": 3}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards") / "images"
    for number in range(60):
        path = root / ("cat", "dog")[number % 2] / f"{number}.{('png', 'JPG')[number % 3 == 0]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(path, "JPEG" if path.suffix == ".JPG" else None)
    return root


@pytest.fixture(scope="module")
def defaults() -> dict[str, dict[str, Any]]:
    keys = {"path": "x", "num_workers": 0, "batch_size": 8}
    return {
        name: as_dict(compose([f"data={name}", "data.path=x"], "inspect").data) | keys for name in ("folder", "shards")
    }


@pytest.fixture(scope="module")
def write(images: Path) -> Callable[..., None]:
    config = compose(["data.path=x", "data.num_workers=0", "out=x"], "convert")

    def write(out: Path, shard_bytes: int = 2**20, path: Path = images, **keys: Any) -> None:
        config.out, config.data.path = str(out), str(path)
        config.data.update(SIZE | {"skip_unreadable": False} | keys)
        config.shard_mb = shard_bytes / 2**20
        convert.run(Job(config, [], []))

    return write


@pytest.fixture(scope="module")
def shards(write: Callable[..., None], images: Path) -> Path:
    out = images.parent / "shards"
    write(out, shard_bytes=8_000)
    return out


@pytest.fixture
def load(defaults: dict[str, Any], images: Path, shards: Path) -> Callable[..., ImageData]:
    def load(name: str = "shards", **keys: Any) -> ImageData:
        path = {"path": str(shards if name == "shards" else images)}
        return build_data(defaults[name] | path | (SIZE if name == "folder" else {}) | keys)

    return load


@pytest.mark.parametrize("cached", [False, True], ids=["decoded", "mapped"])
def test_the_same_batches_as_from_the_folder(load, tmp_path: Path, cached: bool) -> None:
    folder, data = load("folder"), load(cache=cached, cache_dir=str(tmp_path), in_memory=None if cached else False)
    assert isinstance(data.sources["train"].images, MappedImages) is cached
    assert (data.contents(), data.class_names) == (folder.contents(), folder.class_names)
    for split in ("val", "test"):
        for one, other in zip(folder.batches(split, "cpu"), data.batches(split, "cpu"), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
    first, second = iter(folder.train_dataloader()), iter(data.train_dataloader())
    for _ in range(10):  # into the second epoch
        one, other = next(first)[0], next(second)[0]
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


def test_ranks_are_disjoint_and_a_resumed_run_is_at_its_place(load) -> None:
    source = load(in_memory=False).sources["train"]

    def batches(rank: int, world_size: int, images_seen: int, count: int) -> list[torch.Tensor]:
        stream = iter(
            TrainBatches(source, batch_size=8, images_seen=lambda: images_seen, rank=rank, world_size=world_size)
        )
        return [next(stream)[0].images for _ in range(count)]

    whole = batches(0, 1, 0, 9)
    ranks = [batches(rank, 2, 0, 9) for rank in range(2)]
    for number, batch in enumerate(whole):
        assert torch.equal(batch, torch.stack([part[number] for part in ranks], 1).flatten(0, 1))
    assert torch.equal(torch.stack(batches(0, 1, 5 * 8, 4)), torch.stack(whole[5:]))
    assert torch.equal(torch.stack(batches(1, 2, 5 * 8, 4)), torch.stack(ranks[1][5:]))


def test_shards_are_tar_files_of_the_bytes_as_they_were(load, images: Path, shards: Path) -> None:
    files = sorted(shards.glob("train-*.tar"))
    assert len(files) > 2
    data, number = load(), 0
    for path in files:
        with tarfile.open(path) as tar:
            members = {name: tar.extractfile(name).read() for name in tar.getnames()}
        for stem in dict.fromkeys(name.partition(".")[0] for name in members):
            assert int(stem) == number
            (suffix,) = {name.partition(".")[2] for name in members if name.startswith(stem)} - {"cls"}
            label = int(members[f"{stem}.cls"])
            original = data.sources["train"].images  # decoded in the order of the shards
            assert members[f"{stem}.{suffix}"] in {p.read_bytes() for p in (images / data.class_names[label]).iterdir()}
            assert label == data.sources["train"].labels[number]
            number += 1
    assert number == len(original)


def test_settings_of_the_conversion_hold_until_others_are_given(load, images: Path) -> None:
    assert load().image_shape == (3, 6, 8)
    assert torch.equal(
        load(size=4, channels=1, resize="pad", labels=False).sources["val"].images,
        load("folder", size=4, channels=1, resize="pad", labels=False).sources["val"].images,
    )
    assert load(labels=False).num_classes is None


def test_a_damaged_image_stops_the_conversion_and_leaves_nothing(write, tmp_path: Path) -> None:
    for number in range(20):
        Image.new("L", (8, 6)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"3\.png cannot be read"):
        write(tmp_path / "out", path=tmp_path)
    assert not (tmp_path / "out").exists()
    write(tmp_path / "out", path=tmp_path, skip_unreadable=True)
    with pytest.raises(UserError, match="is there already"):
        write(tmp_path / "out", path=tmp_path)


def test_data_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give data=folder"):
        convert.run(Job(compose(["data=fake", "data.num_images=8", f"out={tmp_path / 'out'}"], "convert"), [], []))


def cut(shards: Path) -> None:
    os.truncate(shards / "train-000001.tar", 700)


def remove(shards: Path) -> None:
    (shards / "val-000000.tar").unlink()


def lose_index(shards: Path) -> None:
    (shards / "index.npy").unlink()


def cut_index(shards: Path) -> None:
    os.truncate(shards / "index.npy", 500)


def lead_outside(shards: Path) -> None:
    content = (shards / "index.npy").read_bytes()
    (shards / "index.npy").write_bytes(content.replace(b'"train-000001.tar"', b'"../in-000001.tar"'))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, r"train-000001\.tar differs from its index"),
        (remove, r"val-000000\.tar is missing"),
        (lose_index, r"has no index\.npy; make shards"),
        (cut_index, r"index\.npy is damaged"),
        (lead_outside, r"names of shards are damaged"),
    ],
)
def test_damaged_shards_are_told_in_one_line(write, load, tmp_path: Path, damage, told: str) -> None:
    write(tmp_path / "out", shard_bytes=8_000)
    damage(tmp_path / "out")
    with pytest.raises(UserError, match=told):
        load(path=str(tmp_path / "out"))


def test_a_damaged_image_is_named(write, load, tmp_path: Path) -> None:
    write(tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "test-000000.tar") as tar:
        offset = tar.getmembers()[0].offset_data
    with (tmp_path / "out" / "test-000000.tar").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(30))
    with pytest.raises(UserError, match=r"test-000000\.tar: \d+\.\w+ \(image \d+\) cannot be read"):
        load(path=str(tmp_path / "out"))
