"""`export` and `push`: what they write equals the checkpoint's model, and runs without lightning-gen."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import yaml
from helpers.tiny_models import FAKE_DATA, TINY_DCGAN, TINY_GAN, TINY_STYLEGAN, TINY_VAE, write_checkpoint
from huggingface_hub import constants
from PIL import Image

from lightning_gen.checkpoint import load_model
from lightning_gen.cli import main
from lightning_gen.sharing.program import programs
from lightning_gen.sharing.shareable import without_paths

CONDITIONAL = [*TINY_VAE, "model.conditional=true"]
MIXTURE = [*TINY_VAE, "model/prior=mixture"]
INFOGAN = ["model=infogan", "model.latent_dim=16", *TINY_DCGAN[2:]]
CLASSIFIER = ["model=mlp_classifier", "data.image_shape=[1,8,8]", *FAKE_DATA]
PREDICTOR = ["model=frame_lstm", "model.context_frames=2", "data.image_shape=[4,1,16,16]", *FAKE_DATA]
PIXELS = ["model=pixel_rnn_row", "data.image_shape=[1,4,4]", *FAKE_DATA]


def export(tmp_path: Path, options: list[str], *overrides: str) -> Path:
    write_checkpoint(tmp_path / "a.ckpt", *options)
    assert main(["export", f"checkpoint={tmp_path / 'a.ckpt'}", f"out={tmp_path / 'out'}", *overrides]) == 0
    return tmp_path / "out"


def run_snippet(folder: Path, without: tuple[str, ...]) -> str:
    """The snippet's output, in a process in which these packages can't be imported."""
    blocked = f"import runpy, sys; sys.modules.update(dict.fromkeys({without!r})); runpy.run_path('snippet.py')"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LIGHTNING_GEN")}
    clean |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", blocked], cwd=folder, env=clean, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_program_of_pytorch_draws_what_the_model_does(tmp_path, capsys):
    out = export(tmp_path, CONDITIONAL, "format=torch_export")
    assert "generator: outputs differ from the checkpoint's by" in capsys.readouterr().out
    model = load_model(tmp_path / "a.ckpt")
    latent, label = torch.randn(7, 3), torch.arange(7) % 4
    program = torch.export.load(out / "generator.pt2").module()
    with torch.no_grad():
        assert (program(latent, label) - model.decode(latent, label)).abs().max() <= 1e-5
        images = torch.rand(2, 1, 8, 8).round() * 2 - 1
        encoder = torch.export.load(out / "encoder.pt2").module()
        assert (encoder(images, label[:2]) - model.encode(images, label[:2])).abs().max() <= 1e-5
    assert not any("encoder" in name for name in program.state_dict())  # no more than it needs


def test_latents_that_are_no_normal_noise_are_saved(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", *MIXTURE)
    model = load_model(tmp_path / "a.ckpt")
    with torch.no_grad():
        generator, encoder = programs(model)
        assert generator.latents is not None
        assert torch.equal(generator.module(generator.latents), model.decode(generator.latents))
    assert encoder.latents is None
    assert generator.module.model.prior.mean is None  # of what the program doesn't need nothing is left
    assert model.prior.mean is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "format"),
    [
        (CONDITIONAL, "torch_export"),
        (TINY_STYLEGAN, "torch_export"),
        (CLASSIFIER, "torch_export"),
        (MIXTURE, "onnx"),
        (PREDICTOR, "onnx"),
        (INFOGAN, "onnx"),
        (PIXELS, "safetensors"),
    ],
    ids=["vae", "stylegan2", "classifier", "mixture", "predictor", "infogan", "pixels"],
)
def test_the_snippet_of_each_kind_draws(tmp_path, options, format):
    """In a process without our package, and what else it doesn't need."""
    if format == "onnx":
        pytest.importorskip("onnxscript", reason="needs the extra onnx")
    without = {"onnx": ("lightning_gen", "torch"), "torch_export": ("lightning_gen", "numpy", "PIL"), "safetensors": ()}
    out = export(tmp_path, options, f"format={format}")
    (out / "samples.png").unlink(missing_ok=True)
    run_snippet(out, without[format])
    with Image.open(out / "samples.png") as image:
        image.load()
        assert min(image.size) >= 8


def test_weights_have_a_card_and_a_snippet(tmp_path, capsys):
    out = export(tmp_path, PIXELS, "license=cc-by-4.0")
    assert "model: outputs differ from the checkpoint's by 0.0e+00 at most" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "cc-by-4.0"
    assert {
        "![64 samples, not selected (seed 0).](samples.png)",
        "lightning-gen sample checkpoint=out n=64 scale=4",
    } <= set(card.splitlines())
    assert "arXiv:1601.06759" in card


@pytest.mark.parametrize(
    ("options", "overrides", "words"),
    [
        (PIXELS, ["format=torch_export"], "no function of noise; format=safetensors keeps all of it"),
        (TINY_VAE, ["format=torch_export", "dtype=float16"], "dtype=float16: programs compute in float32"),
        (TINY_VAE, ["format=pt"], "format"),
        (TINY_VAE, ["dtype=half"], "dtype"),
    ],
    ids=["pixels", "dtype", "format", "half"],
)
def test_what_cannot_be_exported_is_told_in_a_line(tmp_path, capsys, options, overrides, words):
    write_checkpoint(tmp_path / "a.ckpt", *options)
    assert main(["export", f"checkpoint={tmp_path / 'a.ckpt'}", f"out={tmp_path / 'out'}", *overrides]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (tmp_path / "out").exists()


def test_a_missing_onnx_is_named_with_its_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    write_checkpoint(tmp_path / "a.ckpt", *TINY_GAN)
    assert main(["export", f"checkpoint={tmp_path / 'a.ckpt'}", f"out={tmp_path / 'out'}", "format=onnx"]) == 2
    assert "pip install 'lightning-gen[onnx]'" in capsys.readouterr().err


def test_a_difference_beyond_the_limit_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lightning_gen.sharing.formats._archive_function", lambda path: lambda inputs: torch.ones(1))
    write_checkpoint(tmp_path / "a.ckpt", *TINY_GAN)
    command = ["export", f"checkpoint={tmp_path / 'a.ckpt'}", f"out={tmp_path / 'out'}", "format=torch_export"]
    assert main(command) == 2
    assert "outputs of the generator differ from the model's by inf, more than 1e-05" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_paths_are_cut_wherever_they_are():
    before = {"a": ["/home/me/x", "data.path=/home/me/x", "~/y", "C:\\me\\z", "1/2", "a/b"], "b": 3}
    assert without_paths(before) == {"a": ["x", "data.path=x", "y", "z", "1/2", "a/b"], "b": 3}


# push


def test_a_dry_run_writes_the_card_of_a_run(tiny_run, tmp_path, capsys):
    run = tiny_run("my_run")
    assert main(["push", str(run), "repo=me/digits", f"dry_run={tmp_path / 'dry'}", "license=apache-2.0"]) == 0
    printed = capsys.readouterr().out
    assert {"README.md", "config.yaml", "model.safetensors", "samples.png", "snippet.py"} <= set(printed.split())
    card = (tmp_path / "dry/README.md").read_text()
    assert "lightning-gen sample checkpoint=hf://me/digits n=64 scale=4" in card
    assert "\nlightning-gen train " in card
    assert str(tmp_path) not in card
    kept, pushed = (load_model(each).state_dict() for each in (run, tmp_path / "dry"))
    assert all(torch.equal(kept[name], pushed[name]) for name in kept)


@pytest.fixture
def hub(monkeypatch) -> SimpleNamespace:
    """A Hub that keeps what is uploaded."""
    hub = SimpleNamespace(files={}, there=[], created=None)

    class Api:
        def repo_exists(self, repo):
            return bool(hub.there)

        def list_repo_files(self, repo):
            return hub.there

        def create_repo(self, repo, private, exist_ok):
            hub.created = (repo, private, exist_ok)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            hub.files = {path.name: path.stat().st_size for path in Path(folder_path).iterdir()}
            return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "a token")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return hub


def test_push_uploads_one_commit(tmp_path, hub, capsys):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    hub.there = [".gitattributes", "model.safetensors", "README.md"]  # of an earlier push
    assert main(["push", str(tmp_path / "a.ckpt"), "repo=me/digits", "private=true"]) == 0
    assert hub.created == ("me/digits", True, True)
    assert {"README.md", "config.yaml", "model.safetensors", "samples.png", "snippet.py"} == set(hub.files)
    out, error = capsys.readouterr()
    assert "uploaded: https://huggingface.co/me/digits/commit/1" in out
    assert "license: none" in error


@pytest.mark.parametrize(
    ("arguments", "token", "there", "words"),
    [
        (["repo=me/digits"], None, [], "no token; run hf auth login, or set HF_TOKEN, or give dry_run=FOLDER"),
        (["repo=me/digits"], "a", ["train.py"], "holds train.py and no model.safetensors; name a new repository"),
        (["repo=digits"], "a", [], "repo=digits: no name of a repository; write repo=user/name"),
        ([], "a", [], "repo: name the repository"),
        (["rep=me/digits"], "a", [], "did you mean repo"),
        (["repo=me/digits", "private=yes"], "a", [], "private=yes: give true or false"),
        (["repo=me/digits", "dry_run=."], "a", [], "exists and is not an empty folder"),
    ],
    ids=["token", "others", "name", "none", "misspelled", "private", "not empty"],
)
def test_what_cannot_be_pushed_is_told_before_any_work(
    tmp_path, hub, capsys, monkeypatch, arguments, token, there, words
):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    monkeypatch.chdir(tmp_path)
    hub.there = there
    (tmp_path / "a.ckpt").write_text("never read")
    assert main(["push", "a.ckpt", *arguments]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert words in line
    assert hub.created is None
