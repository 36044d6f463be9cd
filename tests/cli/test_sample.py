"""The `sample` command: files from a checkpoint alone, the same ones for the same seed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_models import TINY_GAN, TINY_VAE, write_checkpoint
from PIL import Image

from lightning_gen.cli.checkpoint_options import chosen_classes
from lightning_gen.cli.commands import sample
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.sampling.samples import rows_of, samples, spread_labels


def command(*overrides):
    sample.run(Job(compose([*overrides, "device=cpu"], "sample")))


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_files_and_where_they_go(tmp_path, capsys):
    write_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", *TINY_VAE)
    command(f"checkpoint={tmp_path / 'run'}", "n=10", "batch_size=4")
    (out,) = (tmp_path / "run" / "generated").iterdir()
    assert f"10 images of VAE written to {out} (grid.png, images/, interpolation.gif)" in capsys.readouterr().out
    assert [file.name for file in sorted((out / "images").iterdir())] == [f"{i:06}.png" for i in range(10)]
    assert read(out / "images" / "000009.png").shape == (8, 8)
    grid = read(out / "grid.png")
    assert grid.shape == (3 * 10 + 2, 4 * 10 + 2)  # squarish, borders of 2
    assert np.array_equal(grid[12:20, 2:10], read(out / "images" / "000004.png"))
    with Image.open(out / "interpolation.gif") as gif:
        assert gif.n_frames >= 40
        assert gif.info["loop"] == 0


def test_the_same_seed_gives_the_same_files(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    for out, seed in (("first", 0), ("second", 0), ("third", 1)):
        command(f"checkpoint={tmp_path / 'a.ckpt'}", "n=6", f"out={tmp_path / out}", f"seed={seed}")
    for file in ("grid.png", "interpolation.gif"):
        first, second, third = ((tmp_path / out / file).read_bytes() for out in ("first", "second", "third"))
        assert first == second != third


def test_averaged_weights_unless_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    model = write_checkpoint(path, *TINY_VAE)
    content = torch.load(path)
    for name, value in content["state_dict"].items():
        if name.startswith("decoder"):
            value.mul_(5)
    torch.save(content, path)
    for ema in ("true", "false"):
        command(f"checkpoint={path}", "n=4", f"ema={ema}", f"out={tmp_path / ema}", "interpolation=false")
    model.use_averaged_weights()
    expected = [image[0].numpy() for _, image in samples(model.eval(), 4, None, 0, 64)]
    found = [[read(tmp_path / ema / "images" / f"{i:06}.png") for i in range(4)] for ema in ("true", "false")]
    assert np.array_equal(found[0], expected)
    assert not np.array_equal(found[1], expected)
    assert not (tmp_path / "true" / "interpolation.gif").exists()


def test_conditional_models_have_a_row_for_each_class(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE, "model.conditional=true")
    command(f"checkpoint={tmp_path / 'a.ckpt'}", "n=12", f"out={tmp_path / 'all'}")
    grid = read(tmp_path / "all" / "grid.png")
    margin = grid.shape[1] - (3 * 10 + 2)
    assert grid.shape[0] == 4 * 10 + 2
    assert all(grid[2 + 10 * row : 10 + 10 * row, :margin].max() > 200 for row in range(4))  # names
    assert np.array_equal(grid[12:20, margin + 2 : margin + 10], read(tmp_path / "all" / "images" / "000003.png"))


def test_a_class_by_its_name_enlarged(tmp_path, capsys):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE, "model.conditional=true")
    given = [f"checkpoint={tmp_path / 'a.ckpt'}", "n=5", "interpolation=false"]
    command(*given, "label=blob 2", "scale=3", f"out={tmp_path / 'named'}")
    command(*given, "label=2", f"out={tmp_path / 'numbered'}")
    grids = [read(tmp_path / out / "grid.png") for out in ("named", "numbered")]
    large, small = grids[0][-(2 * 26 + 2) :], grids[1][-(2 * 10 + 2) :]  # of one class alone a square, below its name
    assert np.array_equal(large[2:26:3, 2:26:3], small[2:10, 2:10])
    assert capsys.readouterr().out.count("classes of the rows: 2 blob 2") == 2
    with pytest.raises(UserError, match=r"label=blbo 2: .*did you mean blob 2"):
        command(*given, "label=blbo 2", f"out={tmp_path / 'wrong'}")


def test_a_name_wins_over_a_number():
    assert chosen_classes([1, "3", 0], 4, ["1", "2", "3", "x"]) == [0, 2]
    assert chosen_classes(3, 4, ["1", "2", "3", "x"]) == [2]


def test_a_video_needs_its_library_before_any_work(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="format=mp4: the package av is missing"):
        command(f"checkpoint={tmp_path / 'a.ckpt'}", "format=mp4", f"out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["n=0"], "n=0"),
        (["batch_size=0"], "batch_size=0"),
        (["label=4"], "classes 0 to 3"),
        (["label=[1,-1]"], "label=-1"),
        (["label=cat"], "label=cat"),
        (["label=[]"], "at least one class"),
        (["out={}"], "not an empty folder"),
        (["checkpoint={}/b.ckpt"], "did you mean .*a.ckpt"),
        (["checkpoint={}/empty"], "without checkpoints"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, overrides, message):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE, "model.conditional=true")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message) as error:
        command(f"checkpoint={tmp_path / 'a.ckpt'}", *(override.format(tmp_path) for override in overrides))
    assert "\n" not in str(error.value)


def test_labels_of_unconditional_models_are_refused():
    with pytest.raises(UserError, match="unconditional"):
        chosen_classes(1, None)
    assert chosen_classes(None, None) is None
    assert chosen_classes([3, 1, 3], 4) == [3, 1]


def test_labels_are_spread_evenly():
    assert spread_labels([0, 1, 2], 7).tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert spread_labels([5, 6, 7], 2).tolist() == [5, 6]
    assert spread_labels(None, 3) is None
    assert spread_labels(list(range(1000)), 64).tolist() == list(range(64))


def test_rows_of_the_grid():
    assert rows_of(torch.tensor([0, 0, 0, 1, 1, 2, 2]), 7) == ([0, 1, 3, 4, 5, 6], 2)
    assert rows_of(None, 5) == ([0, 1, 2, 3, 4], None)
    assert rows_of(None, 5000) == (list(range(256)), None)
    assert rows_of(torch.tensor([3] * 5), 5) == ([0, 1, 2, 3, 4], None)


@pytest.mark.parametrize(
    ("classes", "n", "shown", "columns"),
    [
        (10, 10, 10, 10),  # one of each: a row
        (10, 20, 20, 2),
        (10, 640, 160, 16),
        (100, 100, 100, 10),  # a square
        (100, 1000, 200, 16),  # two of each, eight classes beside each other
        (1000, 5000, 256, 16),
    ],
)
def test_grids_of_many_classes_are_no_strips(classes, n, shown, columns):
    labels = spread_labels(list(range(classes)), n)
    numbers, found = rows_of(labels, n)
    assert (len(numbers), found) == (shown, columns)
    share = shown // min(classes, 256)
    assert labels[numbers].tolist() == [label for label in range(min(classes, 256)) for _ in range(share)]


@pytest.mark.parametrize("key", ["truncation", "temperature"])
@pytest.mark.parametrize("value", ["0", "-1", "true", "wide"])
def test_truncation_and_temperature_must_be_positive(tmp_path, key, value):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    with pytest.raises(UserError, match=rf"{key}=.*: expected float above 0 or null"):
        command(f"checkpoint={tmp_path / 'a.ckpt'}", f"{key}={value}")


def test_temperature_of_models_that_have_it(tmp_path):
    write_checkpoint(tmp_path / "gan.ckpt", *TINY_GAN)
    with pytest.raises(UserError, match=r"temperature=0.5: GAN has no temperature, give truncation=0.5"):
        command(f"checkpoint={tmp_path / 'gan.ckpt'}", "temperature=0.5")
    write_checkpoint(tmp_path / "vae.ckpt", *TINY_VAE)
    cold = [f"checkpoint={tmp_path / 'vae.ckpt'}", "n=4", "temperature=1e-6", "ema=false", "interpolation=false"]
    command(*cold, f"out={tmp_path / 'out'}")
    first, *others = (read(tmp_path / "out" / "images" / f"{i:06}.png") for i in range(4))
    assert all(np.array_equal(each, first) for each in others)  # the image of the mean


def test_truncation_of_models_that_have_it(tmp_path):
    write_checkpoint(tmp_path / "vae.ckpt", *TINY_VAE)
    with pytest.raises(UserError, match=r"truncation=0.5: VAE does not truncate, give temperature=0.5"):
        command(f"checkpoint={tmp_path / 'vae.ckpt'}", "truncation=0.5")
    model = write_checkpoint(tmp_path / "gan.ckpt", *TINY_GAN)
    command(f"checkpoint={tmp_path / 'gan.ckpt'}", "n=4", "truncation=0.5", "ema=false", f"out={tmp_path / 'out'}")
    model.truncation = 0.5
    with torch.no_grad():
        expected = [image[0].numpy() for _, image in samples(model, 4, None, 0, 64)]
    assert np.array_equal([read(tmp_path / "out" / "images" / f"{i:06}.png") for i in range(4)], expected)
