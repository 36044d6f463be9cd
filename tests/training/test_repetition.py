"""`again=RUN` and `--dry-run`: a repeated run is the same, tells what differs, and trusts the folder with nothing."""

import json
import logging
from pathlib import Path

import pytest
import yaml
from helpers.commands import refused
from helpers.runs import TINY_RUN, run, same_weights

from lightning_gen.cli import main
from lightning_gen.runs.record import Run
from lightning_gen.training.repetition import differences


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "original", "seed=3", images=16)


def test_a_repeated_run_has_the_same_weights_and_tells_what_differs(original, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    starts = original / "environment.json"
    before = starts.read_text()
    [entry] = json.loads(before)
    entry["git"] = {"commit": "0" * 40, "dirty": False}
    entry["packages"]["torch"], entry["device_name"] = "2.0.0", "an abacus"
    entry["command"] = ["rm", "-rf", str(original)]  # of a stranger's folder: never executed
    starts.write_text(json.dumps([entry]))
    assert main(["train", f"again={original}", "run_dir=copy"]) == 0
    starts.write_text(before)
    said = capsys.readouterr().out
    typed = ["lightning-gen", "train", f"again={original}", "run_dir=copy"]  # without the options of the original
    assert Run(Path("copy"), "copy").starts[0]["command"] == typed
    assert same_weights(original, tmp_path / "copy")
    for part in ("code: commit 000000000000 then", "packages: torch 2.0.0 -> ", "device_name: an abacus then, "):
        assert f"differs from {original}: {part}" in said
    # As a restarted job types it: the copy goes on, and is not begun again.
    assert main(["train", f"again={original}", "run_dir=copy", "resume=auto"]) == 0
    assert "nothing to train: 16 of 16 images seen" in capsys.readouterr().out
    assert main(["train", f"again={original}", "run_dir=other", "seed=4"]) == 0
    said = capsys.readouterr().out
    assert "packages: " not in said
    assert "changed: seed: 3 -> 4" in said
    assert not same_weights(original, tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": {"_target_": "os.system"}}, "refused, model._target_=os.system is named by no config"),
        ({"logger": {"csv": {"_target_": "lightning_gen.training.loggers.CSV", "folder": "/etc"}}}, "refused, it sets"),
        ({"init_from": "good.ckpt"}, "began with init_from=good.ckpt"),
    ],
)
def test_a_strangers_folder_is_refused_in_one_line(original, tmp_path, monkeypatch, capsys, changes, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stranger").mkdir()
    config = yaml.safe_load((original / "config.yaml").read_text())
    (tmp_path / "stranger" / "config.yaml").write_text(yaml.safe_dump(config | changes))
    assert line in refused(capsys, "again=stranger", "run_dir=copy")
    assert not (tmp_path / "copy").exists()


def test_what_can_not_be_repeated(original, capsys):
    assert "no run to repeat there" in refused(capsys, "again=nowhere")
    assert "leave out resume and init_from" in refused(capsys, f"again={original}", "resume=x.ckpt")


@pytest.mark.parametrize("content", ["", "[]", '[{"packages": 3, "git": [], "plugins_git": "x"}]', "[" * 10_000])
def test_a_damaged_environment_is_no_obstacle(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    assert differences(tmp_path, {"packages": {"torch": "2"}, "git": {"commit": "a"}, "plugins_git": {}})


def test_a_dry_run_checks_and_times_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY_RUN, "run_dir=new", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "length: 64 images, 8 steps of 8 images, 1.0 passes" in said
    assert "run folder: new" in said
    assert "time: " in said
    assert not list(tmp_path.iterdir())
    assert not logging.getLogger("lightning_gen").handlers[1:]  # no log.txt
    assert "did you mean model.latent_dim" in refused(capsys, *TINY_RUN, "model.latent_dimm=2", "--dry-run")
