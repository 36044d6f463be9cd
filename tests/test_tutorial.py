"""The tutorial's commands run, on a small budget, and both languages say the same."""

import re
import runpy
import shlex
import sys

import pytest
from helpers import ROOT
from helpers.documents import as_command, blocks, commands, jobs, on_a_budget, succeeds

DOCS = ROOT / "docs"
PICTURES = DOCS / "tutorial"
ENGLISH = (DOCS / "tutorial.md").read_text()
CHINESE = (DOCS / "tutorial.zh.md").read_text()
KIB = 1024


def table_of_concepts(text: str) -> list[list[str]]:
    """The cells of each row: concept, formula, command, code."""
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    return [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]


def draw_pictures(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script with few pictures."""
    monkeypatch.setattr(sys, "argv", [*arguments, "n=240", "size=32"])
    runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")


@pytest.mark.slow
def test_commands(tmp_path, monkeypatch, capsys):
    """Of a multirun the first job trains, and the last is composed."""
    monkeypatch.chdir(tmp_path)
    for words in commands(ENGLISH):
        if words[1].startswith("scripts/"):
            draw_pictures(words[1:], monkeypatch)
            continue
        command, arguments = as_command(words, monkeypatch)
        first, *others = jobs(arguments)
        succeeds(on_a_budget(command, first, metrics="[accuracy]"), shlex.join(words), capsys)
        if others:
            succeeds([command, *others[-1], "--cfg", "job"], shlex.join(words), capsys)
    assert list(tmp_path.glob("runs/vae/generated/*"))
    assert (tmp_path / "runs" / "digits" / "confusion_matrix.png").exists()


def test_every_concept_has_a_command_and_its_code():
    commands_of_sections = {line for block in blocks(ENGLISH, "bash") for line in block.splitlines()}
    rows = table_of_concepts(ENGLISH)
    assert len(rows) >= 25
    for concept, formula, command, code in rows:
        assert command.strip(" `") in commands_of_sections, concept
        assert "$" in formula, concept
        assert "](../" in code, concept


@pytest.mark.parametrize(
    "part",
    [
        r"^```(?:bash|math)\n.*?^```",  # commands and formulas
        r"^#+ ",  # headings
        r"!\[.*?\]\((.*?)\)",  # pictures
        r"\]\((\.\./.*?)\)",  # code
        r"^\|(?=.*\|)",  # rows of tables
    ],
)
def test_both_languages_have_the_same(part):
    found = [re.findall(part, text, re.DOTALL | re.MULTILINE) for text in (ENGLISH, CHINESE)]
    assert found[0] == found[1]
    assert found[0]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_links_lead_to_sections(text):
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#(.*?)\)", text)) <= anchors


def test_pictures_are_small_and_used():
    used = set(re.findall(r"!\[.*?\]\(tutorial/(.*?)\)", ENGLISH))
    sizes = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert used == sizes.keys()
    assert max(sizes.values()) < 60 * KIB
    assert sum(sizes.values()) < 500 * KIB
