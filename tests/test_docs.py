"""The papers of a maintainer keep up with the code: rooms, files that they name, and the width of their lines."""

import re
from pathlib import Path

import pytest
import yaml

import lightning_gen

ROOT = Path(__file__).parents[1]
PACKAGE = Path(lightning_gen.__file__).parent
PAPERS = [ROOT / name for name in ("CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "docs/architecture.md")]
PROSE = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]
WIDTH = 120


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_room_is_in_the_table():
    table = re.findall(r"^\| \d+ \| (.*?) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    rooms = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert rooms == {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {
        p.stem for p in PACKAGE.glob("*.py")
    }


@pytest.mark.parametrize("paper", PAPERS, ids=relative)
def test_files_that_are_named_exist(paper):
    text = paper.read_text()
    named = set(re.findall(r"[\w./]*/\w+\.py\b", text)) | set(re.findall(r"(?<![\w/.])test_\w+\.py\b", text))
    assert not [name for name in named if "NAME" not in name and not exists(name)]


def exists(name: str) -> bool:
    """Whether there is a file of this name, which may be relative to the package, or of a test in any folder."""
    return (ROOT / name).exists() or (PACKAGE / name).exists() or bool(list((ROOT / "tests").rglob(name)))


@pytest.mark.parametrize("path", PROSE, ids=relative)
def test_lines_of_prose_are_short(path):
    """Code, tables, and links or pictures that stand alone are excepted."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not re.match(r"\||!?\[[^\]]*\]\([^)]*\)$", line)]
    assert not [line for line in lines if len(line) > WIDTH]


@pytest.mark.parametrize("path", PROSE, ids=relative)
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_option_of_the_trainer_is_described():
    cells = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/gpu.md").read_text(), re.MULTILINE)
    described = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    used = {key for path in ROOT.glob("conf/trainer/*.yaml") for key in yaml.safe_load(path.read_text())}
    assert used - {"_target_", "defaults"} <= described
