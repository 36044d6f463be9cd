"""What `inspect` shows beyond facts: a picture of images as models see them, and warnings in plain words."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.cli.commands import inspect
from lightning_gen.cli.commands.inspect import picture_of
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.duplicates import doubts_of_copies
from lightning_gen.data.examples import examples
from lightning_gen.data.inspection import warnings_of
from lightning_gen.data.source import TensorSource
from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8


def source(*counts: int) -> TensorSource:
    """So many images of each class."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return TensorSource(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels)


def test_few_images_and_unequal_classes_are_told():
    (few,) = warnings_of(source(100, 100), ["cat", "dog"])
    assert few.startswith("only 200 training images, which a model learns by heart: collect 500 or more")
    (unequal,) = warnings_of(source(90, 500, 100), ["cat", "dog", "fish"])
    assert unequal.startswith("classes are unequal, dog has 500 training images and cat 90: ")
    assert warnings_of(source(300, 300), ["cat", "dog"]) == []
    assert warnings_of(TensorSource(source(500).images), None) == []


def test_copies_are_told_and_those_in_several_splits(tmp_path):
    for name, content in {"a": "same", "b": "same", "c": "else", "d": "long one", "e": "long one"}.items():
        (tmp_path / name).write_text(content)
    a, b, c, d, e, gone = (Path(name) for name in "abcdeg")
    (line,) = doubts_of_copies(tmp_path, {"train": [a, b, c, gone], "test": []}, 2)
    assert line == "1 of 4 files is an exact copy of others, as b of a: they count twice in training; remove them"
    (line,) = doubts_of_copies(tmp_path, {"train": [a, b, d], "test": [c, e]}, 2)
    assert line.startswith("2 of 5 files are exact copies of others, as b of a; 1 are in several splits, as d (train)")
    assert "e (test), so scores are too good" in line
    assert doubts_of_copies(tmp_path, {"train": [a, c, d]}, 2) == []


@pytest.fixture
def icons(tmp_path: Path) -> Path:
    """Colored squares, which are transparent around, in two classes; one is there twice."""
    for number in range(24):
        picture = np.zeros((10, 10, 4), np.uint8)
        picture[2:8, 2:8] = (10 * number, 255 - 10 * number, 100, 255)
        path = tmp_path / "icons" / ("red" if number % 2 else "green") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    shutil.copy(path, path.with_name("copy.png"))
    return tmp_path / "icons"


def printed(capsys: pytest.CaptureFixture, *overrides: str) -> str:
    inspect.run(Job(compose([*overrides, "data.num_workers=0"], "inspect")))
    return capsys.readouterr().out


def test_a_folder_is_pictured_with_its_warnings(icons, tmp_path, capsys):
    given = ["data=folder", f"data.path={icons}", "data/augment=flip"]
    text = printed(capsys, *given, f"out={tmp_path / 'new' / 'a.png'}")
    assert "transparent: in 25 of 25 files: blended with white; data.channels=4 keeps it\n" in text
    assert "warning:     only " in text
    assert "warning:     1 of 25 files is an exact copy of others, as red/copy.png of red/23.png" in text
    assert f"picture:     {tmp_path / 'new' / 'a.png'}\n" in text
    picture = np.asarray(Image.open(tmp_path / "new" / "a.png"))
    rows = picture[-(2 * 62 + 2) :]  # two classes, six times enlarged, below words
    line = np.flatnonzero((rows == 255).all((0, 2)))[0]  # between images and augmented ones
    first, mirrored = rows[2:62, line - 62 : line - 2], rows[2:62, line + 4 + 5 * 62 :][:, :60]
    assert np.array_equal(first[5, 5], [255, 255, 255])
    assert np.array_equal(first, mirrored)  # the squares are symmetric
    with pytest.raises(UserError, match=r"out=.*a.png: is there already, name another file"):
        printed(capsys, *given, f"out={tmp_path / 'new' / 'a.png'}")
    with pytest.raises(UserError, match=r"out=a.jpg: the picture is a PNG file; give out=a.png"):
        printed(capsys, *given, "out=a.jpg")


def test_without_out_each_picture_is_a_new_file(capsys):
    paths = [printed(capsys, "data=fake", "data.num_images=20").split("picture:")[1].strip() for _ in range(2)]
    assert len(set(paths)) == 2
    assert all(Path(path).is_file() and path.startswith("outputs/inspect/fake_") for path in paths)


def test_alpha_stays_in_the_picture(icons):
    options = ["data=folder", f"data.path={icons}", "data.channels=4", "data.num_workers=0"]
    data = build_data(compose(options, "inspect").data)
    assert ("transparent", "in 25 of 25 files") in data.inspect()
    picture = to_uint8(picture_of(data))
    assert picture.shape[0] == 4
    assert picture[3, -60, -60] == 0  # around a square
    assert picture[3, -30, -30] == 255
    assert picture[3, 0, 0] == 255  # where the words are


def test_examples_have_a_row_for_each_class():
    data = build_data(compose(["data=fake", "data.num_images=40", "data.num_classes=20"], "inspect").data)
    found = examples(data, columns=5)
    labels = data.sources["train"].labels
    assert found.classes == labels.unique()[:12].tolist()
    assert found.images.shape == (12, 5, 3, 32, 32)
    third = data.sources["train"].images[labels == found.classes[3]]
    assert torch.equal(to_uint8(found.images[3, : len(third)]), third[:5])
    assert len(third) < 5
    assert (found.images[3, len(third) :] == -1).all()
    assert found.augmented is None


@pytest.mark.parametrize("options", [["data=gaussians"], ["data=fake", "data.image_shape=[6,1,16,16]"]])
def test_points_and_sequences_are_pictured(options):
    data = build_data(compose(options, "inspect").data)
    assert picture_of(data).shape[0] == 1
