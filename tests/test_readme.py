"""Every command and every piece of code in the README does what it says, on a small budget."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.documents import as_command, blocks, commands, jobs, on_a_budget, succeeds
from PIL import Image

from lightning_gen.cli import main

README = (ROOT / "README.md").read_text()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with what the README's commands name: images, a run, a package with a model."""
    for i in range(60):
        folder = tmp_path / "my_images" / f"class_{i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 36), (i * 4, 80, 200 - i)).save(folder / f"{i}.png")
    package = tmp_path / "my_models"
    (package / "conf" / "model").mkdir(parents=True)
    (package / "__init__.py").write_text(blocks(README, "python")[0])
    (package / "conf" / "model" / "mmd_vae.yaml").write_text(blocks(README, "yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["train", "run_dir=my_run", "debug=smoke", "metrics=[]"]) == 0
    return tmp_path


@pytest.fixture
def sequences(place) -> None:
    """A folder of clips, and runs of a pixel model and of a predictor of frames."""
    for i in range(40):
        clip = place / "my_clips" / f"clip_{i}"
        clip.mkdir(parents=True)
        for t in range(8):
            Image.new("L", (32, 32), i * 5 + t * 5).save(clip / f"{t}.png")
    small = ["debug=smoke", "metrics=[]", "data.batch_size=8", "trainer.max_images=16"]
    pixels = ["model=pixel_rnn_row", "callbacks.continuations.n=1", "callbacks.sample_grid.n=4"]
    assert main(["train", "run_dir=my_pixels", *pixels, *small]) == 0
    moving = ["experiment=moving_digits/small", "model=frame_lstm", "data.num_test=16"]
    assert main(["train", "run_dir=my_predictor", *moving, *small]) == 0


@pytest.mark.usefixtures("sequences")
def test_commands(place, monkeypatch, capsys):
    seen = 0
    for words in commands(README):
        if words[0] == "make":
            continue
        command, arguments = as_command(words, monkeypatch)
        arguments, *others = jobs(arguments)
        if command == "compare":
            shutil.copytree("my_run", "other_run")
        succeeds(on_a_budget(command, arguments), shlex.join(words), capsys)
        if others:
            succeeds([command, *others[-1], "--cfg", "job"], shlex.join(words), capsys)
        seen += 1
    assert seen >= 20
    out = capsys.readouterr().out
    assert "conditional_vae" in out
    assert (place / "my_run" / "evaluation.json").exists()
    assert list(place.glob("my_run/generated/*/grid.png"))
    assert list(place.glob("outputs/mmd_vae/mnist5k/*/checkpoints/last.ckpt"))


def test_make_commands():
    for words in commands(README):
        if words[0] == "make":
            dry = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
            assert dry.returncode == 0, dry.stderr
            expected = {"train": "train.py", "test": "pytest", "coverage": "--cov", "lint": "ruff"}[words[1]]
            assert expected in dry.stdout
            for word in words[2:]:
                assert word.removeprefix("ARGS=") in dry.stdout


def test_python(place):
    namespace: dict = {}
    code = blocks(README, "python")[2]
    assert "trainer.max_images=100_000" in code
    exec(code.replace("trainer.max_images=100_000", "debug=smoke metrics=[]"), namespace)
    assert namespace["images"].shape == (16, 1, 28, 28)
    assert namespace["pictures"][0].size == (28, 28)


def test_own_model_passes_its_check(place, monkeypatch):
    from lightning_gen.testing import check_model

    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "my_models")
    check_model("mmd_vae")


def test_own_gan_passes_its_check(tmp_path, monkeypatch):
    from lightning_gen.testing import check_model

    options = tmp_path / "my_gans" / "conf" / "model"
    options.mkdir(parents=True)
    (tmp_path / "my_gans" / "__init__.py").write_text(blocks(README, "python")[1])
    (options / "my_infogan.yaml").write_text("# InfoGAN\ndefaults: [dcgan]\n_target_: my_gans.InfoGAN\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "my_gans")
    check_model("my_infogan", data="gray")


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
