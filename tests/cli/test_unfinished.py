"""Folders that commands write: complete under their name, and nothing of a cancelled command is lost or in the way."""

import os

import pytest
import torch
from helpers.configs import composed
from helpers.tiny_models import TINY_VAE, write_checkpoint

from lightning_gen.cli import main
from lightning_gen.cli.checkpoint_options import filled
from lightning_gen.cli.commands import sample
from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.models.vae import VAE


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    return tmp_path / "a.ckpt"


def arguments(checkpoint, out, *more):
    return ["sample", f"checkpoint={checkpoint}", f"out={out}", "n=4", "batch_size=2", "device=cpu", *more]


def cancel_at(monkeypatch, number):
    """Ctrl-C at the image `number`."""
    write = sample._write_image

    def cancelled(image, path, *options):
        if path.name == f"{number:06}":
            raise KeyboardInterrupt
        write(image, path, *options)

    monkeypatch.setattr(sample, "_write_image", cancelled)


@pytest.mark.parametrize("exists", [False, True])
def test_a_cancelled_command_is_in_nobodys_way(tmp_path, checkpoint, monkeypatch, capsys, exists):
    out, part = tmp_path / "out", tmp_path / "out-unfinished"
    if exists:
        out.mkdir()
    with monkeypatch.context() as patch:
        cancel_at(patch, 3)
        assert main(arguments(checkpoint, out)) == 130
    assert capsys.readouterr().err == f"unfinished: what was written until then is in {part}\ninterrupted\n"
    assert sorted(path.name for path in (part / "images").iterdir()) == [f"{n:06}.png" for n in range(3)]
    assert out.exists() == exists
    assert main(arguments(checkpoint, out)) == 0
    assert sorted(path.name for path in out.iterdir()) == ["grid.png", "images", "interpolation.gif"]
    assert len(list((out / "images").iterdir())) == 4
    assert len(list((part / "images").iterdir())) == 3


def test_two_cancelled_commands(tmp_path, checkpoint, monkeypatch):
    cancel_at(monkeypatch, 1)
    for _ in range(2):
        assert main(arguments(checkpoint, tmp_path / "out")) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"a.ckpt", "out-unfinished", "out-unfinished-2"}


def test_the_current_folder_stays_the_same_one(tmp_path, checkpoint, monkeypatch):
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    monkeypatch.chdir(tmp_path / "out")
    assert main(arguments(checkpoint, ".")) == 0
    assert (tmp_path / "out").stat().st_ino == inode
    assert sorted(os.listdir(".")) == ["grid.png", "images", "interpolation.gif"]


def test_an_empty_part_is_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt), filled(tmp_path / "new" / "out"):
        raise KeyboardInterrupt
    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path, checkpoint):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(UserError, match=r"out=.*/file/out: .*name a folder that can be written"),
        filled(tmp_path / "file" / "out"),
    ):
        pass


# Models whose training diverged


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("command", ["sample", "interpolate", "evaluate", "project", "neighbors"])
def test_weights_that_are_not_finite(tmp_path, checkpoint, capsys, command, value):
    content = torch.load(checkpoint, weights_only=True)
    for name, tensor in content["state_dict"].items():
        if name.endswith("weight"):
            tensor.view(-1)[0] = value
    torch.save(content, checkpoint)
    out = tmp_path / "out"
    assert main([command, f"checkpoint={checkpoint}", f"out={out}", "device=cpu"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: checkpoint={checkpoint}: weights of this model are NaN or infinite")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_samples_that_are_not_finite(tmp_path, checkpoint, capsys, monkeypatch):
    made = VAE.sample

    def broken(self, n, labels=None):
        images = made(self, n, labels)
        broken.calls += 1
        return images / 0 if broken.calls == 2 else images

    broken.calls = 0
    monkeypatch.setattr(VAE, "sample", broken)
    assert main(arguments(checkpoint, tmp_path / "out")) == 2
    assert "images of this VAE hold NaN or infinity" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]  # the first batch is gone too


# `~` in paths


def test_home_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNS", "~/of_the_environment")
    config = compose(["run_dir='~/x'", "resume='~/y'", "data=folder", "data.path='~'", "+callbacks=early_stopping"])
    assert (config.run_dir, config.resume, config.data.path) == (f"{tmp_path}/x", f"{tmp_path}/y", str(tmp_path))
    assert config.callbacks.last.folder == f"{tmp_path}/x/checkpoints"
    assert config.logger.csv.folder == f"{tmp_path}/x"
    config = compose(["run_dir=${oc.env:RUNS}/x", "extractor=[inception]", "extractor.inception.weights='~/w.pt'"])
    assert config.callbacks.sample_grid.folder == f"{tmp_path}/of_the_environment/x/samples"
    assert config.extractor.inception.weights == f"{tmp_path}/w.pt"
    config = compose(["samples='~/s'", "reference='~/r'", "out='~/o.json'"], "evaluate")
    assert [config.samples, config.reference, config.out] == [f"{tmp_path}/{name}" for name in ("s", "r", "o.json")]


def test_the_home_of_nobody():
    with pytest.raises(UserError, match=r"run_dir=~nobody_here/x: there is no such user"):
        compose(["run_dir='~nobody_here/x'"])


def test_other_texts_stay():
    assert composed("logger=wandb", "logger.wandb.name='a~b'").logger.wandb.name == "a~b"
