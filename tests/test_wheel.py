"""Wheels are all a user needs: core's, those of plugins/ and those of what `new-plugin` writes, in an empty folder."""

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from helpers import ROOT

from lightning_gen.cli import main
from lightning_gen.cli.commands.new_plugin import KINDS
from lightning_gen.config.plugins import CORE, GROUP, core_version

# In one run with others: it would not differ.
WITH_OTHERS = ("penalty", "augment", "callback", "logger", "extractor")
# What a plugin's `[tool.lightning-gen] smoke` in pyproject.toml says of those in plugins/: overrides that use it.
SMOKE = {
    "model": ["model=user_model", "model.encoder.width=8", "model.decoder.width=8"],
    "metric": ["model=mlp_vae", "metrics=[user_metric]"],
    "data": ["model=mlp_vae", "data=user_data", "data.num_images=32"],
    "network": ["network@model.encoder=user_network", "model.encoder.width=8", "model.decoder.width=8"],
    "loss": [
        *("model=gan", "model/loss=user_loss", "model/penalty=[user_penalty]", "data/augment=[user_augment]"),
        *("callbacks=[log_terms,checkpoint,sample_grid,reconstructions,user_callback]", "logger=[user_logger]"),
        "metrics=[]",
    ],
    "likelihood": ["model=mlp_vae", "model/likelihood=user_likelihood", "metrics=[kid]", "extractor=[user_extractor]"],
}


def build(project: Path, folder: Path) -> Path:
    return Path(next(WheelBuilder(str(project)).build(directory=str(folder), versions=["standard"])))


def test_wheel_holds_the_package_and_nothing_else(tmp_path):
    with zipfile.ZipFile(build(ROOT, tmp_path)) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lightning_gen").rglob("*") if path.is_file()}
    configs = {f"lightning_gen/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert set(names) == {name for name in files if "__pycache__" not in name} | configs
    assert {"lightning_gen/templates/shared/dot_gitignore", "lightning_gen/conf/model/vae.yaml"} <= set(names)


def environment(folder: Path) -> Path:
    """The Python of a new environment that has all packages of this one but lightning-gen and plugins of it.

    They are links, so nothing is downloaded or copied.
    """
    venv.EnvBuilder(symlinks=True).create(folder)
    [site] = folder.glob("lib/python*/site-packages")
    for place in (Path(path) for path in sys.path if Path(path).name in ("site-packages", "dist-packages")):
        ours = {CORE}
        for distribution in distributions(path=[str(place)]):
            points = distribution.entry_points.select(group=GROUP)
            ours |= {point.value.split(".")[0] for point in points} | {distribution.name for _ in points}
        ours = {name.replace("-", "_") for name in ours}
        for entry in place.iterdir():
            if entry.name.split("-")[0] not in ours and entry.suffix != ".pth" and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def run(folder: Path, *command: object) -> str:
    left_out = ("PYTHONPATH", "LIGHTNING_GEN_PLUGINS", "LIGHTNING_GEN_DISABLE")
    clean = {name: value for name, value in os.environ.items() if name not in left_out} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=clean, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_wheels_work_without_a_checkout_and_plugins_also_editable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    projects = {pyproject.parent.name: pyproject.parent for pyproject in sorted(ROOT.glob("plugins/*/pyproject.toml"))}
    smoke = {"core": ["model=mlp_vae"]}
    for name, project in projects.items():
        settings = tomllib.loads((project / "pyproject.toml").read_text())
        smoke[name] = settings.get("tool", {}).get("lightning-gen", {}).get("smoke", [])
    for kind in KINDS:
        assert main(["new-plugin", f"user_{kind}", "--kind", kind]) == 0
        projects[f"user_{kind}"] = tmp_path / f"user_{kind}"
        if kind not in WITH_OTHERS:
            smoke[f"user_{kind}"] = SMOKE[kind]
    python = environment(tmp_path / "environment")
    wheels = [build(project, tmp_path / "wheels") for project in (ROOT, *projects.values())]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    run(tmp_path, *pip, *wheels)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty, python.with_name("lightning-gen"), "--version") == f"lightning-gen {core_version()}\n"
    listed = run(empty, python.with_name("lightning-gen"), "list", "model")
    [row] = [line for line in listed.splitlines() if line.startswith("user_model ")]
    assert row.endswith("user_model 0.1.0")
    tests = [str(projects[f"user_{kind}"] / "tests" / f"test_user_{kind}.py") for kind in KINDS]
    said = run(empty, python, ROOT / "tests" / "helpers" / "as_a_user.py", json.dumps([str(ROOT), smoke, tests]))
    assert "my_option" not in said
    assert {path.name for path in empty.glob("*/drawn/grid.png")} == {"grid.png"}

    run(tmp_path, *pip, "--no-build-isolation", *(part for project in projects.values() for part in ("-e", project)))
    option = projects["user_model"] / "user_model" / "conf" / "model" / "user_model.yaml"
    option.write_text(option.read_text().replace("free_nats: 0.1", "free_nats: 0.7"))
    again = json.dumps([str(ROOT), {"user_model": [*SMOKE["model"], "run_dir=again"]}, []])
    run(empty, python, ROOT / "tests" / "helpers" / "as_a_user.py", again)
    assert "free_nats: 0.7" in (empty / "again" / "config.yaml").read_text()
