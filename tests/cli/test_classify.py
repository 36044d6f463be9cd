"""`classify`: the classes of files, as the model says; where it is right; and mistakes in one line."""

import csv
import json

import pytest
import torch
from helpers.tiny_models import TINY_VAE, write_checkpoint
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.data.augment import normalize
from lightning_gen.data.decode import ImageFiles
from lightning_gen.images import save_png

CLASSIFIER = [
    *("model=classifier", "model.encoder.width=4", "model.encoder.hidden=8", "data=folder", "data.size=8"),
    *("data.resize=pad", "data.range=[0,200]", "data.channels=1", "data.split=[1,0,0]"),
]


@pytest.fixture
def pictures(tmp_path):
    """Files of two classes, one of them damaged, and the checkpoint of a classifier of these classes."""
    torch.manual_seed(0)
    for number in range(5):
        folder = tmp_path / "pictures" / ("cat" if number < 3 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        save_png(torch.randint(256, (1, 12, 20), dtype=torch.uint8), folder / f"{number}.png")
    model = write_checkpoint(tmp_path / "a.ckpt", *CLASSIFIER, f"data.path={tmp_path / 'pictures'}")
    (tmp_path / "pictures" / "dog" / "9.png").write_bytes(b"no picture")
    return tmp_path, model


def classify(folder, *overrides):
    return main(["classify", f"checkpoint={folder / 'a.ckpt'}", "device=cpu", "batch_size=2", *overrides])


def test_files_are_read_as_the_data_were_and_those_that_cannot_be_are_named(pictures, capsys):
    folder, model = pictures
    files = sorted((folder / "pictures").glob("*/[0-4].png"))
    images = ImageFiles(files, 1, (8, 8), "pad", (0, 200))
    with torch.no_grad():
        expected = model.classify(normalize(torch.stack([images[n] for n in range(5)])))
    for out in ("c.csv", "c.json"):
        assert classify(folder, f"images={folder / 'pictures'}", f"out={folder / out}") == 0
    printed = capsys.readouterr()
    assert "left out, unreadable: 1 of 6 files: dog/9.png (cannot identify image file)" in printed.err
    with open(folder / "c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["cat", "dog"]
    for row, path, probabilities in zip(rows, files, expected.tolist(), strict=True):
        assert row["file"] == path.relative_to(folder / "pictures").as_posix()
        assert row["true class"] == path.parent.name
        assert row["class"] == names[probabilities.index(max(probabilities))]
        assert [float(row[key]) for key in ("p(cat)", "p(dog)")] == pytest.approx(probabilities, abs=1e-5)
    right = sum(row["class"] == row["true class"] for row in rows)
    assert f"accuracy {right / 5:.2f} ± " in printed.out
    entries = json.loads((folder / "c.json").read_text())
    assert [entry["class"] for entry in entries] == [row["class"] for row in rows]
    assert entries[0]["probabilities"] == pytest.approx(dict(zip(names, expected[0].tolist(), strict=True)), abs=1e-5)


def test_without_class_folders_there_is_no_accuracy(pictures, capsys):
    folder, _ = pictures
    (folder / "pictures" / "cat").rename(folder / "pictures" / "lion")
    assert classify(folder, f"images={folder / 'pictures' / 'lion'}") == 0
    assert "accuracy" not in capsys.readouterr().out
    (folder / "pictures" / "dog").rename(folder / "pictures" / "wolf")
    assert classify(folder, f"images={folder / 'pictures'}", "resize=stretch") == 0
    printed = capsys.readouterr()
    assert "accuracy" not in printed.out
    assert "no folder is named as a class (cat, dog): no accuracy" in printed.err


def test_a_photograph_alone(pictures, capsys):
    folder, _ = pictures
    Image.new("RGBA", (30, 40)).save(folder / "photo.png")
    assert classify(folder, f"images={folder / 'photo.png'}") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("photo.png  ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("images=pictures out=c.txt", "out=c.txt: name a file that ends in .csv or .json"),
        ("images=pictures out=a.ckpt.csv", "out=a.ckpt.csv: is there already, name another file"),
        ("images=pictures out=nowhere/c.csv", "out=nowhere/c.csv: there is no folder nowhere; make it, or name "),
        ("images=pictres", "images=pictres: no such file or folder; did you mean pictures?"),
        ("images=pictures/dog/9.png", "images=pictures/dog/9.png: no file can be read: 9.png (cannot"),
        ("images=pictures resize=padd", "resize=padd: no such method; did you mean pad?"),
        ("images=pictures checkpoint=vae.ckpt", "checkpoint=vae.ckpt: holds a VAE, give a run of model=classifier"),
        ("", "classify needs images=PATH"),
    ],
)
def test_mistakes_are_one_line(pictures, monkeypatch, capsys, overrides, message):
    folder, _ = pictures
    monkeypatch.chdir(folder)
    (folder / "a.ckpt.csv").touch()
    if "vae" in overrides:
        write_checkpoint(folder / "vae.ckpt", *TINY_VAE)
    assert classify(folder, *overrides.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith(f"error: {message}")
    assert not printed.out
