"""Overrides of a resumed run are composed on the options of that run, and what they change is told."""

import shutil

import pytest
import torch
import yaml
from helpers.runs import TINY_RUN
from torchvision.utils import save_image

from lightning_gen.cli import main
from lightning_gen.config.run_options import installed_options, not_among, options_among

GAN = [
    *("model=dcgan", "model.generator.width=8", "model.discriminator.width=8", "debug=smoke", "extractor=none"),
    *("metrics=[]", "trainer.max_images=32", "data=folder", "data.path=pictures", "data.batch_size=16"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gan")
    (folder / "pictures").mkdir()
    for number in range(60):
        save_image(torch.rand(3, 16, 16), folder / "pictures" / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *GAN, "run_dir=run"]) == 0
    return folder


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """The working folder, with the run of a GAN on pictures in it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def changes(capsys):
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("changed: ") for line in lines if line.startswith("changed: ")]


def test_keys_of_the_run_s_own_model_and_data(folder, capsys):
    (folder / "pictures").rename(folder / "moved")
    given = ["data.path=moved", "model.discriminator_optimizer.lr=0.001", "trainer.max_images=64"]
    assert main(["train", "run_dir=run", "resume=true", *given]) == 0
    assert changes(capsys) == [
        "model.discriminator_optimizer.lr: 0.0002 -> 0.001",
        "data.path: pictures -> moved",
        "trainer.max_images: 32 -> 64",
    ]
    config = config_of(folder / "run")
    assert (config["data"]["path"], config["data"]["batch_size"]) == ("moved", 16)
    assert config["model"]["generator"]["width"] == 8


def test_a_group_that_is_named_again_resets_nothing(folder, capsys):
    assert main(["train", "run_dir=run", "resume=true", "data=folder", "model=dcgan", "trainer.max_images=64"]) == 0
    assert changes(capsys) == ["trainer.max_images: 32 -> 64"]


def test_another_option_changes_what_it_differs_in(folder, capsys):
    given = ["logger=none", "data/augment=[flip]", "trainer.max_images=64"]
    assert main(["train", "run_dir=run", "resume=true", *given]) == 0
    assert changes(capsys) == [
        "data.augment.flip: absent -> lightning_gen.data.augment.Flip",
        "logger.csv: lightning_gen.training.loggers.CSV -> absent",
        "trainer.max_images: 32 -> 64",
    ]
    assert {"logger=none", "data/augment=[flip]"} <= set(config_of(folder / "run")["options"])


def test_another_class_is_taken_whole(folder, capsys):
    fake = ["data=fake", "data.image_shape=[3,16,16]", "data.num_images=64", "trainer.max_images=64"]
    assert main(["train", "run_dir=run", "resume=true", *fake]) == 0
    assert "data: lightning_gen.data.folder.Folder -> lightning_gen.data.fake.Fake" in changes(capsys)
    assert "path" not in config_of(folder / "run")["data"]


def test_a_typed_value_that_is_the_default_counts(folder, capsys):
    assert main(["train", "run_dir=run", "resume=true", "data.batch_size=64"]) == 2
    assert "has only 48 training images" in capsys.readouterr().err
    assert main(["train", "run_dir=run", "resume=true", "model.generator.width=64"]) == 2
    assert "tensors don't fit this model" in capsys.readouterr().err


def test_a_warm_start_and_finetuning_know_the_keys_too(folder, capsys):
    given = ["run_dir=warm", "trainer.max_images=48", "model.discriminator_optimizer.lr=0.001"]
    assert main(["train", "resume=run/checkpoints/last.ckpt", *given]) == 0
    assert "model.discriminator_optimizer.lr: 0.0002 -> 0.001" in changes(capsys)
    new = [*GAN[3:], "run_dir=tuned", "model.discriminator_optimizer.lr=0.001"]
    assert main(["train", "init_from=run", *new]) == 0
    config = config_of(folder / "tuned")
    assert config["model"]["discriminator_optimizer"]["lr"] == 0.001
    assert config["model"]["generator"]["width"] == 8
    assert config["options"] == ["model=dcgan", "debug=smoke", "extractor=none", "metrics=[]", "data=folder"]


def test_suggestions_are_of_the_run_s_own_keys(folder, capsys):
    assert main(["train", "run_dir=run", "resume=true", "model.discriminator_optimizer.lrr=1"]) == 2
    assert "did you mean model.discriminator_optimizer.lr?" in capsys.readouterr().err


def test_the_model_of_an_experiment_is_known(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["model.generator.width=8", "model.discriminator.width=8", "debug=smoke", "metrics=[]", "extractor=none"]
    fake = ["data=fake", "data.image_shape=[1,16,16]", "data.num_images=64", "trainer.max_images=16"]
    assert main(["train", "experiment=digits/dcgan", *small, *fake, "run_dir=run"]) == 0
    assert (
        main(["train", "run_dir=run", "resume=true", "model.discriminator_optimizer.lr=0.5", "trainer.max_images=64"])
        == 0
    )
    assert len(changes(capsys)) == 2
    assert main(["train", "init_from=run", *fake, *small[2:], "model.discriminator_optimizer.lr=0.5", "run_dir=b"]) == 0
    assert config_of(tmp_path / "b")["model"]["discriminator_optimizer"]["lr"] == 0.5


def test_runs_without_saved_options_resume_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY_RUN, "trainer.max_images=16", "run_dir=run"]) == 0
    file = tmp_path / "run" / "config.yaml"
    file.write_text(file.read_text().partition("options:\n")[0])
    assert main(["train", "run_dir=run", "resume=true", "trainer.max_images=32", "model.optimizer.lr=0.5"]) == 0
    assert config_of(tmp_path / "run")["model"]["optimizer"]["lr"] == 0.5


def test_options_are_names_of_installed_ones():
    known = ["model=vae", "network@model.encoder=mlp_encoder", "metrics=[kid, frechet]", "logger=[]", "debug=null"]
    other = ["model=nix", "model=${oc.env:SECRET}", "data.path=x", "hydra/launcher=x", "n=1", 3, "model.beta=1", ""]
    assert installed_options([*known, *other]) == known
    assert installed_options("model=vae") == []
    assert options_among(["data=fake", "data.path=x", "+debug=smoke"]) == ["data=fake", "+debug=smoke"]
    assert not_among(["model=vae", "data=fake"], ["++model=gan", "seed=1"]) == ["data=fake"]
