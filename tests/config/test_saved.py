"""Files of strangers: what their configs name is not run, and no secret gets out."""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.runs import run
from helpers.tiny_models import TINY_VAE, write_checkpoint
from omegaconf import OmegaConf

import lightning_gen
from lightning_gen.cli import main
from lightning_gen.config import saved
from lightning_gen.config.saved import MAX_NODES, check_saved, installed_targets, read_saved_yaml, trusting
from lightning_gen.errors import UserError

TARGETS = {
    "torch.utils.collect_env.run": {"command": "touch canary"},
    "torch.load": {"f": "canary"},
    "torch.hub.load": {"repo_or_dir": ".", "model": "canary", "source": "local"},
    "torch.hub.download_url_to_file": {"url": "file:///etc/hostname", "dst": "canary"},
    "lightning_gen.files.atomic_write": {"path": "canary", "content": "x"},
    "lightning_gen.utilities.atomic_files.atomic_write": {"path": "canary", "content": "x"},
    "pathlib.Path.write_text": {"self": {"_target_": "pathlib.Path", "_args_": ["canary"]}, "data": "x"},
    "canary_module.Net": {},  # its import writes
    "os.mkdir": {"path": "canary"},
    "builtins.open": {"file": "canary", "mode": "w"},
    "builtins.exec": {"_args_": ["open('canary', 'w')"]},
    "subprocess.check_output": {"args": ["touch", "canary"]},
    "shutil.copy": {"src": "stranger.ckpt", "dst": "canary"},
    "runpy.run_path": {"path_name": "canary_module.py"},
    "hydra.utils.call": {"config": {"_target_": "os.mkdir", "path": "canary"}},
    "lightning_gen.training.loggers.Wandb": {"folder": "canary", "project": "x", "offline": True},  # not as a model
    "lightning_gen.cli.main": {"arguments": ["new-plugin", "canary"]},
    "logging.FileHandler": {"filename": "canary"},
    "numpy.memmap": {"filename": "canary", "mode": "w+", "shape": 1},
}
PLACES = [
    "model.optimizer",
    "model.encoder.anything",
    "model.anything",
    "data.augment.anything",
    "callbacks.progress",
    "logger.csv",
    "trainer.plugins",
    "metrics.reconstruction",
    "extractor.anything",
]
COMMANDS = {
    "sample": ["sample", "checkpoint=stranger.ckpt", "n=1"],
    "evaluate": ["evaluate", "checkpoint=stranger.ckpt", "metrics=[reconstruction]"],
    "interpolate": ["interpolate", "checkpoint=stranger.ckpt", "n=1"],
    "project": ["project", "checkpoint=stranger.ckpt", "n=1", "steps=1"],
    "neighbors": ["neighbors", "checkpoint=stranger.ckpt", "n=1", "extractor=none"],
    "predict": ["predict", "checkpoint=stranger.ckpt", "n=1"],
    "complete": ["complete", "checkpoint=stranger.ckpt", "n=1"],
    "warm start": ["train", "resume=stranger.ckpt", "run_dir=new"],
    "finetune": ["train", "init_from=stranger.ckpt", "run_dir=new", "data=fake", "debug=smoke", "metrics=[]"],
    "continue": ["train", "resume=true", "run_dir=stranger"],
    "metric": ["train", "data=fake", "debug=smoke", "metrics=[classes]", "metrics.classes.classifier=stranger.ckpt"],
    "extractor": [
        *("evaluate", "checkpoint=good.ckpt", "metrics=[frechet]", "extractor=[classifier]"),
        "extractor.classifier.checkpoint=stranger.ckpt",
    ],
}


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """`stranger(values)` writes them into the config of stranger.ckpt and of the run folder stranger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SECRET", "hunter2")
    Path("canary_module.py").write_text("open('canary', 'w'); Net = dict")
    write_checkpoint(Path("good.ckpt"), *TINY_VAE)
    content = torch.load("good.ckpt", weights_only=True)

    def write(values):
        config = OmegaConf.create(content["lightning_gen"]["config"])
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        plain = OmegaConf.to_container(config, resolve=False)
        torch.save(content | {"lightning_gen": content["lightning_gen"] | {"config": plain}}, "stranger.ckpt")
        Path("stranger").mkdir(exist_ok=True)
        Path("stranger", "config.yaml").write_text(OmegaConf.to_yaml(config))
        return {*map(str, Path().rglob("*"))}

    return write


def check_nothing_happens(arguments, before, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert "refused" in output.err or "damaged" in output.err
    assert len(output.err.strip().splitlines()) == 1
    assert "hunter2" not in output.err + output.out
    assert {*map(str, Path().rglob("*"))} == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("target", ["torch.utils.collect_env.run", "canary_module.Net"])
def test_no_command_runs_what_a_file_names(stranger, command, target, capsys):
    before = stranger({"model.optimizer": {"_target_": target, **TARGETS[target]}})
    check_nothing_happens(COMMANDS[command], before, capsys)


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_outside_of_installed_configs_is_run(stranger, target, capsys):
    before = stranger({"model.optimizer": {"_target_": target, **TARGETS[target]}})
    check_nothing_happens(COMMANDS["sample"], before, capsys)


@pytest.mark.parametrize("place", PLACES)
def test_no_place_of_a_run_folder_is_left_out(stranger, place, capsys):
    before = stranger({place: [{"_target_": "os.mkdir", "path": "canary"}]})
    check_nothing_happens(COMMANDS["continue"], before, capsys)
    check_nothing_happens(COMMANDS["warm start"], before, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_interpolations_are_not_resolved(stranger, command, capsys):
    before = stranger({"model.optimizer.anything": "${oc.env:SECRET}"})
    check_nothing_happens(COMMANDS[command], before, capsys)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logger.csv.folder", "elsewhere"),
        ("callbacks.sample_grid.folder", "new/../elsewhere"),
        ("callbacks.last.folder", "/nowhere/at/all"),
        ("logger.csv.settings", {"base_url": "http://127.0.0.1:1"}),
        ("trainer.default_root_dir", "elsewhere"),
        ("extractor.efficientnet_lite0.sha256", "0" * 64),
    ],
)
@pytest.mark.parametrize("command", ["continue", "warm start"])
def test_a_file_does_not_decide_where_a_run_writes(stranger, command, key, value, capsys):
    before = stranger({key: value})
    check_nothing_happens(COMMANDS[command], before, capsys)


def test_what_is_typed_again_is_confirmed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = f"logger.csv.folder={tmp_path / 'elsewhere'}"
    run(tmp_path / "run", elsewhere, images=16)
    assert main(["train", f"run_dir={tmp_path / 'run'}", "resume=true"]) == 2
    assert main(["train", f"run_dir={tmp_path / 'run'}", "resume=true", elsewhere]) == 0


def test_own_classes_need_trust(stranger, capsys):
    Path("my_package.py").write_text("import lightning_gen.losses.likelihoods as l\nclass Own(l.Bernoulli): pass")
    stranger({"model.likelihood": {"_target_": "my_package.Own"}})
    assert main(COMMANDS["sample"]) == 2
    assert "add trust=[my_package]" in capsys.readouterr().err
    assert main([*COMMANDS["sample"], "trust=[my_package]"]) == 0
    with pytest.raises(UserError, match=r"my_package\.Own is named by no config"):
        lightning_gen.load_model("stranger.ckpt")
    lightning_gen.load_model("stranger.ckpt", trust=["my_package.Own"])
    with pytest.raises(UserError, match="refused"):
        lightning_gen.load_model("stranger.ckpt", trust=["my_pack"])


def test_own_classes_that_are_typed_again_need_no_trust(tmp_path, monkeypatch):
    # As a job that Slurm requeues, whose command line stays the same.
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("requeued_package.py").write_text("from lightning.pytorch import Callback\nclass Own(Callback): pass")
    own = "+callbacks.own._target_=requeued_package.Own"
    run(tmp_path / "run", own, images=16)
    assert main(["train", f"run_dir={tmp_path / 'run'}", "resume=true"]) == 2
    assert main(["train", f"run_dir={tmp_path / 'run'}", "resume=true", own]) == 0


def test_every_installed_target_passes():
    for target, groups in installed_targets().items():
        group = min(groups - {"experiment", "debug"}, default="model")
        check_saved({"_target_": target}, "file", group)


def test_configs_of_checkpoints_have_one_door():
    """Only `saved_config` takes the config out of a checkpoint."""
    package = Path(lightning_gen.__file__).parent
    readers = [file.name for file in package.rglob("*.py") if '[KEY]["config"]' in file.read_text()]
    assert readers == ["checkpoint.py"]


def test_trust_ends_with_its_block():
    config = {"_target_": "my_package.Net"}
    with trusting("my_package"):
        check_saved(config, "file", "model")
    with pytest.raises(UserError, match=r"file: refused, model\._target_=my_package\.Net is named by no config"):
        check_saved(config, "file", "model")


def test_loggers_are_no_models():
    with pytest.raises(UserError, match=r"model\._target_=lightning_gen\.training\.loggers\.CSV belongs to logger"):
        check_saved({"_target_": "lightning_gen.training.loggers.CSV"}, "file", "model")


def test_shared_parts_do_not_take_for_ever():
    config = {}
    for _ in range(60):
        config = {"a": config, "b": config}
    with pytest.raises(UserError, match=f"more than {MAX_NODES:,} values"):
        check_saved(config, "file")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no config"),
        ("- model", "holds no config"),
        ("model: {a: [", "line 1: expected the node content"),
        ("model: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        ("a: &x [1]\nb: [*x, *x]", "has YAML aliases"),
        ("[" * 1200, "cannot be read: "),
        ("a: " + "1" * saved.MAX_BYTES, "has more than 1 MiB"),
    ],
)
def test_other_yaml(tmp_path, text, why):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=rf"run_dir=run: .*{why}"):
        read_saved_yaml(file, "run_dir=run")


def test_a_zip_bomb_is_not_unpacked(tmp_path, capsys):
    archive = zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("archive/data/0", "w", force_zip64=True) as member:
        for _ in range(300):
            member.write(bytes(2**20))
    assert os.path.getsize(tmp_path / "bomb.ckpt") < 2**19
    assert main(["sample", f"checkpoint={tmp_path / 'bomb.ckpt'}"]) == 2
    assert "not a checkpoint" in capsys.readouterr().err


def test_every_flipped_byte_of_a_tensor_is_found(tmp_path, capsys):
    write_checkpoint(tmp_path / "good.ckpt", *TINY_VAE)
    content = bytearray((tmp_path / "good.ckpt").read_bytes())
    with zipfile.ZipFile(tmp_path / "good.ckpt") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content[largest.header_offset + largest.file_size // 2] ^= 1
    (tmp_path / "bad.ckpt").write_bytes(content)
    assert main(["sample", f"checkpoint={tmp_path / 'bad.ckpt'}", "n=1"]) == 2
    assert "cut short or damaged" in capsys.readouterr().err
