"""`new-plugin` writes packages, and refuses what would not become one. That they work, test_wheel.py shows."""

import tomllib
from pathlib import Path

import pytest

from lightning_gen.cli import main
from lightning_gen.cli.commands.new_plugin import KINDS
from lightning_gen.config.plugins import core_version


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# The check of each kind in its tests; the others are parts of a model.
CHECKS = {kind: f"check_{kind}(" for kind in ("model", "network", "data", "augment", "metric")}
CHECKS["extractor"] = "check_metric("


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_names_are_replaced(kind, capsys):
    assert main(["new-plugin", "lightning-gen-fine", f"--kind={kind}"]) == 0
    folder = Path("lightning-gen-fine")
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    group = KINDS[kind][0]
    assert set(files) == {
        *("pyproject.toml", "README.md", ".gitignore", ".github/workflows/test.yml"),
        *("lightning_gen_fine/__init__.py", f"lightning_gen_fine/conf/{group}/fine.yaml"),
        "tests/test_lightning_gen_fine.py",
    }
    for text in files.values():
        assert not any(name in text for name in ("my_plugin", "my-plugin", "my_option", "MyOption", "DESCRIPTION"))
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "lightning-gen-fine"
    assert project["entry-points"]["lightning_gen.plugins"] == {"fine": "lightning_gen_fine"}
    major, minor = core_version().split(".")[:2]
    assert project["dependencies"] == [f"lightning-gen>={major}.{minor},<{int(major) + 1}"]
    assert "class Fine" in files["lightning_gen_fine/__init__.py"]
    assert CHECKS.get(kind, "check_model(") in files["tests/test_lightning_gen_fine.py"]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert "pip install" in printed[1]
    assert "pytest" in printed[2]
    assert "fine" in printed[3]


def test_an_empty_folder_is_filled():
    Path("my_fine").mkdir()
    assert main(["new-plugin", "--kind", "data", "my_fine"]) == 0


USAGE = "write lightning-gen new-plugin NAME --kind KIND"
REFUSED = {
    "": f"new-plugin needs a name and a kind; {USAGE}",
    "fine": f"new-plugin needs a name and a kind; {USAGE}",
    "fine other --kind model": f"new-plugin needs a name and a kind; {USAGE}",
    "fine --knid model": f"new-plugin --knid: no such flag; {USAGE}",
    "fine --kind modle": "--kind modle: no such kind; did you mean --kind model?",
    "fine --kind 3": "--kind 3: no such kind; kinds: model, network, loss, penalty, likelihood, data, ",
    "Fine --kind model": "new-plugin Fine: not a name for a package; use lower-case letters",
    "../fine --kind model": "new-plugin ../fine: not a name for a package; use lower-case letters",
    "class --kind model": "new-plugin class: not a name for a package",
    "json --kind model": "new-plugin json: there is a package json already; choose another name",
    "torch --kind data": "new-plugin torch: there is a package torch already; choose another name",
    "beta_vae --kind model": "new-plugin beta_vae: model=beta_vae is there already, of core ",
    "hinge --kind loss": "new-plugin hinge: model/loss=hinge is there already, of core ",
    "lightning-gen-kid --kind metric": "new-plugin kid: metrics=kid is there already, of core ",
    "full --kind model": "new-plugin full: ",
}


@pytest.mark.parametrize("arguments", list(REFUSED))
def test_refused(arguments, capsys):
    Path("full").mkdir()
    Path("full", "file").touch()
    assert main(["new-plugin", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {REFUSED[arguments]}")
    assert error.count("\n") == 1
    assert [path.as_posix() for path in Path().rglob("*")] == ["full", "full/file"]
