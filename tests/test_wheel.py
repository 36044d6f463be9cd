"""The built wheel is all a user needs: it carries the configs, and works from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The wheel's content, as an installer would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "lightning_gen", *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_wheel_holds_the_package_and_nothing_else(site):
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"lightning_gen"}
    shipped = {
        path.relative_to(site / "lightning_gen" / "conf") for path in (site / "lightning_gen" / "conf").rglob("*.yaml")
    }
    assert shipped == {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}


def test_trains_and_samples_from_another_folder(site, tmp_path):
    where = "import lightning_gen, lightning_gen.config as c; print(lightning_gen.__file__, c.conf_dir())"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.count(str(site)) == 2
    run(site, tmp_path, "train", "trainer=smoke", "data=fake", "metrics=[]", "run_dir=run")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    run(site, tmp_path, "sample", "checkpoint=run", "n=4", "out=drawn")
    assert (tmp_path / "drawn" / "grid.png").exists()
