"""`evaluate samples=FOLDER`: sizes, splits, clips and classes of files, and what is said about them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.cli.commands import evaluate as evaluate_command
from lightning_gen.cli.hydra_app import Job
from lightning_gen.cli.sample_files import Files, read_files
from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.evaluation.comparison import compare, read_runs

TINY = ["extractor.efficientnet_lite0.size=32", "half_samples=0", "metrics=[kid]", "device=cpu"]


def save(folder: Path, count: int = 6, size: int = 8, mode: str = "L", suffix: str = "png") -> Path:
    """Smooth images whose level is 30 times their number."""
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 40, size).astype(np.uint8)
    for number in range(count):
        Image.fromarray(ramp[None].repeat(size, 0) + np.uint8(30 * number)).convert(mode).save(
            folder / f"{number}.{suffix}"
        )
    return folder


def save_clips(folder: Path, count: int = 4, frames: int = 5, size: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        first, *others = [Image.new("L", (size, size), 40 * number + 5 * frame) for frame in range(frames)]
        first.save(folder / f"{number}.gif", save_all=True, append_images=others, duration=40)
    return folder


def read(*overrides: str) -> Files:
    return read_files(compose([*overrides, *TINY], "evaluate"))


def score(tmp_path: Path, *overrides: str, out: str = "scores") -> dict:
    path = tmp_path / f"{out}.json"
    evaluate_command.run(Job(compose([*overrides, *TINY, f"out={path}"], "evaluate")))
    return json.loads(path.read_text())[-1]


def said(*overrides: str) -> str:
    """The one line that a mistake ends in."""
    with pytest.raises(UserError) as caught:
        evaluate_command.run(Job(compose([*overrides, *TINY], "evaluate")))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Sizes


def test_samples_are_resized_to_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    large, small = save(tmp_path / "large", size=16), save(tmp_path / "small", size=8)
    files = read(f"samples={large}", f"reference={small}")
    assert files.samples.image_shape == (1, 8, 8)
    assert files.resized == "samples from 16x16 to 8x8, Lanczos, antialiased"
    with Image.open(large / "3.png") as image:
        expected = np.asarray(image.resize((8, 8), Image.Resampling.LANCZOS))
    assert any(np.array_equal(image[0].numpy(), expected) for image in files.samples.sources["train"].images)
    result = score(tmp_path, f"samples={large}", f"reference={small}")
    assert result["protocol"]["resized"] == files.resized
    assert "resized: samples from 16x16 to 8x8" in capsys.readouterr().out
    assert read(f"samples={small}", f"reference={large}").resized.startswith("samples from 8x8 to 16x16")
    assert read(f"samples={small}", f"reference={small}").resized is None


def test_resized_samples_are_not_ranked_with_others(tmp_path: Path) -> None:
    small = save(tmp_path / "small", size=8)
    scores = {}
    for name, size in (("a", 8), ("b", 16)):
        samples = save(tmp_path / f"samples {name}", size=size)
        (tmp_path / name).mkdir()
        scores[name] = score(tmp_path, f"samples='{samples}'", f"reference={small}", out=f"{name}/evaluation")
    assert "resized" not in scores["a"]["protocol"]
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UserError, match="unequal protocols, resized is None in a and samples from 16x16"):
        compare(runs, ["kid/efficientnet_lite0"], None, force=False)
    assert len(compare(runs, ["kid/efficientnet_lite0"], None, force=True).cells) == 1


def test_another_aspect_is_cropped_and_said(tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    for number in range(3):
        Image.new("L", (16, 8), 50 * number).save(wide / f"{number}.png")
    files = read(f"samples={wide}", f"reference={save(tmp_path / 'square')}")
    assert files.resized == "samples from 8x16 to 8x8, Lanczos, antialiased, the longer side cropped"


def test_samples_of_several_sizes_are_refused(tmp_path: Path) -> None:
    samples, reference = save(tmp_path / "samples"), save(tmp_path / "reference")
    Image.new("L", (40, 40)).save(samples / "grid.png")
    text = said(f"samples={samples}", f"reference={reference}")
    assert text == (
        f"samples={samples}: images differ in size, 0.png is 8x8 and grid.png is 40x40: make them equal, or move "
        "those that are no samples"
    )
    text = said(f"samples={reference}", f"reference={samples}")
    assert text.startswith(f"reference={samples}: images differ in size")
    fix = f"data=folder data.path={samples} data.split=[1,0,0] split=train"
    assert text.endswith(f"keys of data can be set with {fix} in place of reference")
    assert read(f"samples={reference}", *fix.split(), "data.size=8").data.split_sizes["train"] == 7


# Splits of a reference


def test_a_reference_with_splits_is_taken_whole(tmp_path: Path) -> None:
    samples = save(tmp_path / "samples")
    for split, count in (("train", 5), ("test", 3)):
        save(tmp_path / "reference" / split, count)
    given = (f"samples={samples}", f"reference={tmp_path / 'reference'}")
    whole = score(tmp_path, *given)["protocol"]
    assert (whole["split"], whole["n_real"], list(whole["images"])) == ("all", 8, ["all"])
    part = score(tmp_path, *given, "split=test")["protocol"]
    assert (part["split"], part["n_real"]) == ("test", 3)
    assert score(tmp_path, *given, "split=train")["protocol"]["n_real"] == 5
    assert said(*given, "split=val") == (
        f"split=val: reference={tmp_path / 'reference'} has no such folder; leave split out for all images"
    )
    levels = sorted(int(image[0, 0, 0]) for image in read(*given).data.sources["all"].images)
    assert levels == [0, 0, 30, 30, 60, 60, 90, 120]


def test_samples_with_splits_are_taken_whole(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 3)):
        save(tmp_path / "samples" / split, count)
    files = read(f"samples={tmp_path / 'samples'}", f"reference={save(tmp_path / 'reference')}")
    assert files.samples.split_sizes["train"] == 8


def test_the_split_of_other_data_is_still_test(tmp_path: Path) -> None:
    samples = save(tmp_path / "samples")
    data = ["data=fake", "data.image_shape=[1,8,8]", "data.num_images=32", "data.num_classes=null"]
    protocol = score(tmp_path, f"samples={samples}", *data)["protocol"]
    assert (protocol["split"], protocol["n_real"]) == ("test", 8)


# Clips


def test_clips_are_scored_as_clips(tmp_path: Path) -> None:
    samples, real = save_clips(tmp_path / "samples", size=16), save_clips(tmp_path / "real", count=6)
    data = ["data=frames", f"data.path={real}", "data.frames=5", "data.split=[1,0,0]", "data.channels=1", "split=train"]
    files = read(f"samples={samples}", *data)
    assert files.samples.image_shape == files.data.image_shape == (5, 1, 8, 8)
    assert files.resized == "samples from 16x16 to 8x8, Lanczos, antialiased"
    found = sorted(clip[:, 0, 0, 0].tolist() for clip in files.samples.sources["train"].images)
    assert found == [[40 * number + 5 * frame for frame in range(5)] for number in range(4)]
    assert score(tmp_path, f"samples={samples}", *data)["protocol"]["n_fake"] == 4


def test_clips_against_clips_name_the_fix(tmp_path: Path) -> None:
    samples, real = save_clips(tmp_path / "samples"), save_clips(tmp_path / "real", frames=7)
    text = said(f"samples={samples}", f"reference={real}")
    fix = f"data=frames data.path={real} data.frames=5 data.split=[1,0,0] split=train"
    assert text.endswith(f"to compare clips, give in its place {fix}")
    assert read(f"samples={samples}", *fix.split()).samples.image_shape == (5, 3, 8, 8)


def test_first_frames_against_images_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    samples = save_clips(tmp_path / "samples")
    protocol = score(tmp_path, f"samples={samples}", f"reference={save(tmp_path / 'real')}")["protocol"]
    assert protocol["n_fake"] == 4
    told = "data=samples: 4 of 4 files hold several frames or pages (0.gif has 5), of which the first is used"
    told = told.replace("0.gif", "")[:47]
    assert told in capsys.readouterr().err


def test_images_and_short_clips_against_sequences(tmp_path: Path) -> None:
    real = save_clips(tmp_path / "real", count=6)
    data = ["data=frames", f"data.path={real}", "data.frames=5", "data.split=[1,0,0]", "split=train"]
    text = said(f"samples={save(tmp_path / 'images')}", *data)
    assert "holds single images, and data=real are sequences: give clips, as gif" in text
    few = save(tmp_path / "few", count=3)
    assert "few: holds single images, and data=real are sequences" in said(f"samples={few}", *data)
    text = said(f"samples={few}", "data=gaussians")
    assert text == f"samples={few}: images can't be made as small as those of data=gaussians"
    short = save_clips(tmp_path / "short", frames=3)
    text = said(f"samples={short}", *data)
    assert text.startswith(f"samples={short}: {short}/0.gif has 3 frames, fewer than 5: remove it, or give data of 3 ")


# Messages


def test_messages_name_keys_of_the_command(tmp_path: Path) -> None:
    good, bad = save(tmp_path / "good"), save(tmp_path / "bad")
    (bad / "3.png").write_bytes((bad / "3.png").read_bytes()[:50])
    text = said(f"samples={bad}", f"reference={good}")
    assert text.startswith(f"samples={bad}: {bad}/3.png cannot be read (")
    assert text.endswith("), remove it")
    text = said(f"samples={good}", f"reference={bad}")
    assert text.endswith(f"data=folder data.path={bad} data.split=[1,0,0] split=train in place of reference")
    save(bad / "class")
    (bad / "3.png").unlink()
    text = said(f"samples={bad}", f"reference={good}")
    assert text.startswith(f"samples={bad}: some images have a class folder (class/")
    assert text.endswith("move those that are no samples, or name one folder")
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "good" / "f.tif")
    text = said(f"samples={good}", f"reference={save(tmp_path / 'other')}")
    assert text.endswith(
        "f.tif cannot be read (floating-point values have no known range: convert it to 8 bits), remove it"
    )
    for key in ("samples", "reference"):
        other = {"samples": "reference", "reference": "samples"}[key]
        text = said(f"{key}={tmp_path / 'none'}", f"{other}={tmp_path / 'other'}")
        assert text.startswith(f"{key}={tmp_path / 'none'} does not exist: ")
    one = save(tmp_path / "one", count=1)
    assert said(f"samples={tmp_path / 'other'}", f"reference={one}").startswith(
        f"split=all: reference={one} has 1 in it"
    )


# Classes


def test_classes_are_matched_by_name_or_number(tmp_path: Path) -> None:
    names = ("ant", "bee", "cat")
    for number, name in enumerate(names):
        save(tmp_path / "real" / name, 3)
        Image.new("L", (8, 8), 80 * number).save(tmp_path / "real" / name / "x.png")
        if number:
            for folder in (
                tmp_path / "named" / name,
                tmp_path / "numbered" / str(number),
                tmp_path / "odd" / f"?{name}",
            ):
                folder.mkdir(parents=True)
                Image.new("L", (8, 8), 80 * number).save(folder / "x.png")
    for samples in ("named", "numbered"):
        files = read(f"samples={tmp_path / samples}", f"reference={tmp_path / 'real'}")
        source = files.samples.sources["train"]
        assert torch.equal(source.images[:, 0, 0, 0].long(), 80 * source.labels)
        assert files.samples.num_classes == 3
    odd = read(f"samples={tmp_path / 'odd'}", f"reference={tmp_path / 'real'}").samples
    assert (odd.num_classes, odd.sources["train"].labels) == (None, None)
    assert "labels are left out: the class folder ?bee is no class of real" in odd.notes


def test_doubtful_values_of_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for key in ("samples", "reference"):
        (tmp_path / key).mkdir()
        for number in range(4):
            Image.fromarray(np.full((8, 8), 1000 * number, np.uint16)).save(tmp_path / key / f"{number}.png")
    score(tmp_path, *(f"{key}={tmp_path / key}" for key in ("samples", "reference")))
    first, second = (line for line in capsys.readouterr().err.splitlines() if "values (" in line)
    said = "values (16 bits) go from 0 to 3000 of 65535: the images are dark; if that is not meant, "
    assert first == f"data=samples: {said}convert the files to 8 bits"
    fix = f"data=folder data.path={tmp_path / 'reference'} data.split=[1,0,0] split=train in place of reference"
    assert second == f"data=reference: {said}set data.range=[0,4095] with {fix}"
