"""environment.json: what a run was started with, and how it ended."""

import subprocess

import pytest
import torch
from helpers.runs import resume, run

from lightning_gen.errors import UserError
from lightning_gen.runs.record import Run, starts_of
from lightning_gen.training.environment import EnvironmentFile, code_state, outcome_of
from lightning_gen.utilities.signals import Stopped


def git(folder, *arguments):
    settings = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True)


def test_each_start_of_a_run_and_its_end(tmp_path):
    folder = run(tmp_path / "run", images=16)
    (start,) = starts_of(folder)
    assert start["command"][:3] == ["lightning-gen", "train", f"run_dir={folder}"]
    assert (start["model"], start["data"], start["outcome"]) == ("VAE", "fake", "finished")
    assert "debug=smoke" in start["options"]
    assert start["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert start["started"] <= start["ended"]
    assert Run(folder, "run").state == "finished"
    resume(folder)  # trains nothing
    assert len(starts_of(folder)) == 1
    resume(folder, "trainer.max_images=32")
    assert [each["outcome"] for each in starts_of(folder)] == ["finished", "finished"]
    assert (Run(folder, "run").images, Run(folder, "run").model) == (32, "vae")


def test_a_failed_run_says_why(tmp_path, monkeypatch):
    def fail(*arguments):
        raise UserError("no space\nleft")

    monkeypatch.setattr("lightning_gen.training.run._fit", fail)
    with pytest.raises(UserError):
        run(tmp_path / "run")
    assert starts_of(tmp_path / "run")[-1]["outcome"] == "failed: no space"
    assert Run(tmp_path / "run", "run").state == "failed"


def test_outcomes():
    assert outcome_of(SystemExit(130)) == outcome_of(Stopped(15)) == outcome_of(KeyboardInterrupt()) == "stopped"
    assert outcome_of(ValueError("x")) == "failed: ValueError: x"


def test_code_and_its_changes(tmp_path):
    code, folder = tmp_path / "code", tmp_path / "run"
    code.mkdir()
    folder.mkdir()
    assert code_state(code, folder) is None
    git(code, "init", "-b", "trunk")
    (code / "net.py").write_text("width = 8\n")
    git(code, "add", "net.py")
    git(code, "commit", "-m", "x")
    clean = code_state(code, folder)
    assert (clean["branch"], clean["dirty"], clean["diff"], clean["untracked"]) == ("trunk", False, None, [])
    (code / "net.py").write_text("width = 16\n")
    (code / "new.py").write_text("")
    changed = code_state(code, folder)
    assert (changed["commit"], changed["dirty"], changed["untracked"]) == (clean["commit"], True, ["new.py"])
    assert "+width = 16" in (folder / changed["diff"]).read_text()


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_file_that_is_not_ours_stays(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    file = EnvironmentFile(tmp_path)
    file.begin([], {}, torch.device("cpu"))
    file.end(None)
    assert (tmp_path / "environment.json").read_text() == content
