"""`lightning-gen runs`: what folders tell, without anything heavy being imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from lightning_gen.cli import main
from lightning_gen.config.run_options import title_of
from lightning_gen.runs.heartbeat import HEARTBEAT, SILENT, Heartbeat, is_running
from lightning_gen.runs.record import Run, find_runs
from lightning_gen.utilities.atomic_files import place


def make_run(folder: Path, model: str, kid: float | None = None, **start) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model: {{latent_dim: {len(model)}}}\nrun_dir: {folder}\nseed: 0\n")
    entry = {"command": ["lightning-gen", "train"], "model": "VAE", "options": [f"model={model}"], "data": "mnist5k"}
    entry |= {"started": f"2026-01-0{len(model)}T10:00:00+00:00", "outcome": "finished"} | start
    (folder / "environment.json").write_text(json.dumps([entry]))
    (folder / "metrics.csv").write_text("images,train/loss\n32,1.0\n64,0.5\n")
    if kid is not None:
        scores = {"kid/x": kid, "accuracy": 1 - kid}
        better = {"kid/x": "lower", "accuracy": "higher"}
        (folder / "evaluation.json").write_text(json.dumps([{"scores": scores, "better": better}]))
    return folder


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "outputs/a", "vae", 0.5)
    make_run(tmp_path / "outputs/deep/er/b", "dcgan", 0.25)
    make_run(tmp_path / "outputs/c", "gan", outcome="failed: no space")
    (tmp_path / "outputs/empty").mkdir()
    return tmp_path / "outputs"


def listed(capsys, *arguments: str) -> list[str]:
    assert main(["runs", *arguments, "--json"]) == 0
    return [Path(run["name"]).name for run in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["b", "c", "a"]),
        (["list", "sort=kid"], ["b", "a", "c"]),
        (["sort=accuracy"], ["b", "a", "c"]),
        (["sort=model", "most=2"], ["b", "c"]),
        (["kid<0.4"], ["b"]),
        (["kid/x>=0.25", "model=VAE"], ["a"]),
        (["kid!=0.25"], ["c", "a"]),
        (["state=failed"], ["c"]),
        (["model.latent_dim=5"], ["b"]),
        (["outputs/deep", "images>60"], ["b"]),
        (["images>64"], []),
        (["best", "kid"], ["b"]),
    ],
)
def test_runs_are_chosen_and_sorted(outputs, capsys, arguments, names):
    assert listed(capsys, *arguments) == names


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["modl=vae"], "error: modl=vae: no run has modl; did you mean model?"),
        (["sort=kidd"], "error: sort=kidd: no run has it; did you mean kid?"),
        (["kid<low"], "error: kid<low: kid is a number, give one"),
        (["most=few"], "error: most=few: give a number of runs"),
        (["shwo"], "error: runs shwo: no such folder; did you mean show?"),
        (
            ["outputs/empty"],
            "error: runs outputs/empty: holds no run; name other folders, as in lightning-gen runs .",
        ),
        (["show", "outputs"], "error: runs show outputs: holds no run"),
        (["show"], "error: runs show: give lightning-gen runs show RUN"),
        (["diff", "outputs/a"], "error: runs diff outputs/a: give lightning-gen runs diff RUN RUN"),
        (["best"], "error: runs best needs a score"),
        (["delete", "outputs/a"], "error: runs delete outputs/a: asks on a terminal; without one add yes=true"),
    ],
)
def test_a_mistake_is_one_line(outputs, capsys, arguments, line):
    assert main(["runs", *arguments]) == 2
    assert capsys.readouterr().err.startswith(line)
    assert (outputs / "a" / "config.yaml").exists()


def test_table_show_and_diff(outputs, capsys):
    assert main(["runs", "sort=kid"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "state", "model", "data", "images", "started", "size", "kid/x", "accuracy"]
    assert first.split()[:5] == ["outputs/deep/er/b", "finished", "dcgan", "mnist5k", "64"]
    assert main(["runs", "show", "outputs/a"]) == 0
    shown = capsys.readouterr().out
    for part in ("kid/x", "0.5 (lower is better)", "command  lightning-gen train"):
        assert part in shown
    make_run(outputs / "d", "vae", command=["lightning-gen", "train", "data.path=my art"])
    assert main(["runs", "show", "outputs/d"]) == 0
    assert "command  lightning-gen train 'data.path=my art'\n" in capsys.readouterr().out
    assert main(["runs", "diff", "outputs/a", "outputs/deep/er/b"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["model.latent_dim", "3", "5"]


def test_scores_that_are_asked_for_are_shown(outputs, capsys):
    scores = {"a": 1, "b": 2, "c": 3, "kid/x": 4, "recall/x": 5}
    (outputs / "a/evaluation.json").write_text(json.dumps([{"scores": scores}]))
    assert main(["runs", "outputs/a", "sort=recall", "kid<9"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[-3:] == ["recall/x", "kid/x", "a"]


@pytest.mark.parametrize(
    ("options", "model", "data"),
    [
        ([], "vae", "mnist5k"),
        (["experiment=my_pictures/gan_64"], "r3gan", "folder"),  # by the experiment that it builds on
        (["experiment=digits/gan", "model=dcgan"], "dcgan", "mnist5k"),
        (["experiment=of_a_plugin"], "VAE", "my art"),  # that is not installed here
        (["experiment=../../x"], "VAE", "my art"),
        (None, "VAE", "my art"),  # of an early version
    ],
)
def test_a_run_is_named_by_its_options(tmp_path, options, model, data):
    run = make_run(tmp_path / "run", "vae", data="my art", options=options)
    assert (Run(run, "run").model, Run(run, "run").data) == (model, data)
    classes = {"model": {"_target_": "a.VAE"}, "data": {"_target_": "my art"}}
    assert title_of(classes, options) == f"{model} on {data}"


def test_delete(outputs, capsys, monkeypatch):
    (outputs / "link").symlink_to(outputs / "a")
    assert main(["runs", "delete", "outputs/link", "yes=true"]) == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["runs", "delete", "outputs/a"]) == 0
    assert (outputs / "a").is_dir()
    Heartbeat(outputs / "a").start()
    assert main(["runs", "delete", "outputs/a", "yes=true"]) == 2
    assert "is running" in capsys.readouterr().err
    assert main(["runs", "delete", "outputs/c", "yes=true"]) == 0
    assert not (outputs / "c").exists()


HUGE = pytest.param('[{"scores": {"kid": %s}}]' % ("9" * 400), id="huge")


@pytest.mark.parametrize(
    "content", ["{", "[]", "[1]", '[{"scores": 3}]', '[{"command": 1, "options": 2}]', "\0" * 9, HUGE]
)
def test_damaged_files_are_left_out(outputs, capsys, content):
    for name in ("environment.json", "evaluation.json", "metrics.csv"):
        (outputs / "a" / name).write_text(content)
    assert "a" in listed(capsys)
    assert main(["runs", "show", "outputs/a"]) == 0


def test_nothing_heavy_is_imported_for_a_list(outputs):
    make_run(outputs / "d", "vae", 0.5, options=["experiment=digits/gan"])
    code = (
        "import sys; from lightning_gen.cli import main; main(['runs', 'kid<1']); print(*sys.modules, file=sys.stderr)"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "outputs/a" in done.stdout
    assert not {"torch", "omegaconf", "hydra", "numpy"} & set(done.stderr.split())


def test_a_sign_of_life(tmp_path):
    file = tmp_path / HEARTBEAT
    assert not is_running(tmp_path)
    heart = Heartbeat(tmp_path, every=0.01)
    heart.start()
    assert is_running(tmp_path)
    os.utime(file, (0, 0))
    while not is_running(tmp_path):  # until it is touched again
        pass
    heart.stop()
    assert not file.exists()
    file.write_text(f"{place()} {2**30}")  # killed
    assert not is_running(tmp_path)
    file.write_text("ffffffff 1")  # of another host
    assert is_running(tmp_path)
    os.utime(file, (0, file.stat().st_mtime - SILENT - 1))
    assert not is_running(tmp_path)


def test_links_are_not_followed(outputs, tmp_path):
    make_run(tmp_path / "elsewhere", "vae")
    (outputs / "out").symlink_to(tmp_path / "elsewhere")
    (outputs / "a" / "checkpoints" / "big").symlink_to(sys.executable)
    assert {run.path.name for run in find_runs(outputs)} == {"a", "b", "c"}
    assert Run(outputs / "a", "a").size < 10_000
