"""Checkpoints by name: `zoo:NAME` of a plugin, `hf://user/name` of the Hub, and folders of safetensors."""

import shutil
import struct
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from helpers.tiny_models import TINY_GAN, TINY_VAE, write_checkpoint
from huggingface_hub import constants, errors

from lightning_gen.checkpoint import checkpoint_of, load_model
from lightning_gen.cli import main
from lightning_gen.errors import UserError
from lightning_gen.origins.places import shared_name
from lightning_gen.sharing.folder import open_shared, write_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A tiny VAE as safetensors, to be copied."""
    place = tmp_path_factory.mktemp("kept")
    write_checkpoint(place / "a.ckpt", *TINY_VAE)
    return exported(place / "a.ckpt", place / "shared")


@pytest.fixture
def folder(kept, tmp_path) -> Path:
    """A tiny VAE as safetensors."""
    return shutil.copytree(kept, tmp_path / "shared")


def exported(checkpoint: Path, out: Path, **options) -> Path:
    out.mkdir()
    write_safetensors(
        open_shared(checkpoint, checkpoint.parent, **options), out, out.name, options.get("dtype", "float32")
    )
    return out


def samples(model) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return model.sample(4)


@pytest.mark.parametrize("options", [TINY_VAE, TINY_GAN], ids=["vae", "gan"])
def test_a_folder_of_safetensors_is_a_checkpoint(tmp_path, options):
    model = write_checkpoint(tmp_path / "a.ckpt", *options, "model.ema_decay=0.9")
    content = torch.load(tmp_path / "a.ckpt")
    for name, tensor in content["state_dict"].items():
        if name.startswith("averages.") and tensor.is_floating_point():
            tensor.mul_(1.5)  # so that averaged weights are not the trained ones
    torch.save(content, tmp_path / "a.ckpt")
    out = exported(tmp_path / "a.ckpt", tmp_path / "shared")
    before, after = load_model(tmp_path / "a.ckpt"), load_model(out)
    assert torch.equal(samples(before), samples(after))
    assert not torch.equal(samples(model.eval()), samples(after))
    assert (after.images_seen, after.class_names) == (640, before.class_names)
    assert after.ema_decay == 0.9  # as a protocol tells
    with pytest.raises(UserError, match="averaged weights alone; leave out ema=false"):
        load_model(out, ema=False)


def test_finetuning_starts_from_it_and_resuming_is_refused(folder, tmp_path, capsys):
    train = ["train", "trainer.max_images=8", "metrics=[]", "callbacks=[checkpoint]"]
    assert main([*train, *TINY_VAE, f"init_from={folder}", f"run_dir={tmp_path / 'finetuned'}"]) == 0
    assert (tmp_path / "finetuned/checkpoints/last.ckpt").is_file()
    capsys.readouterr()
    assert main([*train, f"resume={folder}"]) == 2
    assert "has weights and no state of training; use init_from" in capsys.readouterr().err


def test_half_precision_halves_the_file_and_loads_as_float32(folder, tmp_path):
    half = exported(folder / "model.safetensors", tmp_path / "half", dtype="float16")
    sizes = [(each / "model.safetensors").stat().st_size for each in (half, folder)]
    assert sizes[0] < 0.55 * sizes[1]
    assert {p.dtype for p in load_model(half).parameters()} == {torch.float32}


def test_paths_of_the_owner_are_not_in_it(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    content = torch.load(tmp_path / "a.ckpt")
    content["lightning_gen"]["config"]["data"]["path"] = "/home/anna/secret/faces"
    content["lightning_gen"]["options"] = ["data=folder", "data.path=/home/anna/secret/faces"]
    torch.save(content, tmp_path / "a.ckpt")
    text = "".join(
        file.read_text()
        for file in exported(tmp_path / "a.ckpt", tmp_path / "b").glob("*.[my]*")
        if file.suffix in (".md", ".yaml")
    )
    assert "faces" in text
    assert "anna" not in text
    assert str(tmp_path) not in text


def damaged(folder: Path, damage: str) -> None:
    weights, config = folder / "model.safetensors", folder / "config.yaml"
    if damage == "cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "pickle":
        torch.save({"a": 1}, weights)
    elif damage == "huge header":
        weights.write_bytes(struct.pack("<Q", 2**60) + b"{}")
    elif damage == "no config":
        config.unlink()
    elif damage == "config of a run":
        config.write_text("model: {}\n")
    elif damage == "aliases":
        config.write_text(config.read_text() + "more: &a [1]\nagain: *a\n")
    elif damage == "code":
        config.write_text(config.read_text().replace("lightning_gen.models.vae.VAE", "os.system"))
    elif damage == "other model":
        config.write_text(config.read_text().replace("latent_dim: 3", "latent_dim: 4"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("cut short", "not a file of safetensors, or one cut short"),
        ("pickle", "not a file of safetensors"),
        ("huge header", "not a file of safetensors"),
        ("no config", "config.yaml is missing"),
        ("config of a run", "was not written by lightning-gen export"),
        ("aliases", "refused, config.yaml has YAML aliases"),
        ("code", "refused, model._target_=os.system is named by no config"),
        ("other model", "tensors don't fit this model"),
    ],
)
def test_a_damaged_or_hostile_folder_is_refused_in_a_line(folder, damage, words):
    damaged(folder, damage)
    with pytest.raises(UserError, match=words) as refused:
        load_model(folder)
    assert "\n" not in str(refused.value)


# Of the Hugging Face Hub, without a network.


@pytest.fixture
def cached(folder, tmp_path, monkeypatch) -> Path:
    """The folder as huggingface_hub has it in its cache after a download of user/name."""
    root = tmp_path / "hub/models--user--name"
    snapshot = root / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(COMMIT)
    folder.rename(snapshot)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"], ids=["newest", "branch", "commit"])
def test_the_cache_of_the_hub_is_read_offline(cached, revision, tmp_path, monkeypatch, capsys):
    assert checkpoint_of(f"hf://user/name{revision}") == cached / "model.safetensors"
    monkeypatch.chdir(tmp_path)
    if not revision:
        assert main(["sample", "checkpoint=hf://user/name", "n=2", "interpolation=false", "device=cpu"]) == 0
        assert list(tmp_path.glob("outputs/user--name/generated/*/grid.png"))  # and nothing beside the cached files


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://user/other", "is not in the cache, and the Hub can't be reached"),
        ("hf://user", "no address of a model; write hf://user/name"),
        ("hf://user/name@../../x y", "no address of a model"),
    ],
)
@pytest.mark.usefixtures("cached")
def test_what_is_not_on_the_hub_is_told_in_a_line(address, words, capsys):
    assert main(["sample", f"checkpoint='{address}'"]) == 2
    [line] = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert line.startswith(f"error: checkpoint={address}: ")
    assert words in line


def response(status: int):
    import httpx2

    return httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.RepositoryNotFoundError("401 ...", response=response(401)), "no such repository, or a private one"),
        (errors.GatedRepoError("403", response=response(403)), "is gated"),
        (errors.RevisionNotFoundError("404", response=response(404)), "no such revision"),
        (errors.RemoteEntryNotFoundError("404", response=response(404)), "has no config.yaml"),
        (errors.HfHubHTTPError("403", response=response(403)), "the token has no access"),
        (OSError("no route\nto host"), "no route to host"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failures_of_the_hub_are_a_line_with_the_fix(monkeypatch, error, words):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(UserError, match=words) as told:
        checkpoint_of("hf://user/name")
    assert "\n" not in str(told.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'lightning-gen\[hub\]'"):
        checkpoint_of("hf://user/name")


# Of plugins.


@pytest.fixture
def zoo(folder, tmp_path, monkeypatch) -> Path:
    """A plugin with a checkpoint called `tiny`."""
    package = tmp_path / "my_zoo"
    (package / "conf/zoo").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('not to be imported')")
    folder.rename(package / "tiny")
    (package / "conf/zoo/tiny.yaml").write_text("# A tiny VAE\ncheckpoint: tiny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "my_zoo")
    monkeypatch.chdir(tmp_path)
    return package


def test_a_plugin_brings_checkpoints(zoo, tmp_path, capsys):
    assert main(["sample", "checkpoint=zoo:tiny", "n=2", "interpolation=false", "device=cpu"]) == 0
    assert list(tmp_path.glob("outputs/tiny/generated/*/grid.png"))
    assert sorted(file.name for file in zoo.glob("tiny/*")) == [
        *("README.md", "config.yaml", "model.safetensors", "samples.png", "snippet.py")
    ]
    assert shared_name(checkpoint_of("zoo:tiny")) == "tiny"
    capsys.readouterr()
    assert main(["list", "zoo"]) == 0
    assert capsys.readouterr().out == "tiny  A tiny VAE  my_zoo\n"


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("checkpoint: tiny", "tinny", "no such checkpoint; did you mean tiny"),
        ("checkpoint: ../outside", "tiny", "is no folder of my_zoo"),
        ("checkpoint: /etc", "tiny", "is no folder of my_zoo"),
        ("other: 1", "tiny", "checkpoint=None is no folder of my_zoo"),
        ("checkpoint: hf://user", "tiny", "no address of a model"),
    ],
    ids=["misspelled", "outside", "absolute", "no key", "address"],
)
def test_a_wrong_name_or_entry_is_told_in_a_line(zoo, tmp_path, content, name, words):
    (tmp_path / "outside").mkdir()
    (zoo / "conf/zoo/tiny.yaml").write_text(content)
    with pytest.raises(UserError, match=words):
        checkpoint_of(f"zoo:{name}")


def test_without_a_zoo_its_package_is_named(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_DISABLE", "zoo")
    with pytest.raises(UserError, match="pip install lightning-gen-zoo"):
        checkpoint_of("zoo:digits_vae")
