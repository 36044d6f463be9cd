"""The contract of docs/plugins.md: what our own plugins and templates import is on the page, and is there."""

import ast
import importlib
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "docs/plugins.md").read_text().partition("## What a plugin may import")[2].partition("\n## ")[0]
# Module to names, by the rows `| module | names |` of the page.
PAGE = {
    row[1]: re.findall(r"`(\w+)`", row[2])
    for row in re.finditer(r"^\| `(lightning_gen[\w.]*)` \| (.*) \|$", SECTION, re.M)
}
USERS = [
    *ROOT.glob("plugins/*/lightning_gen_*/**/*.py"),
    *ROOT.glob("plugins/*/tests/**/*.py"),
    *ROOT.glob("lightning_gen/templates/**/*.py"),
]


def imported(path: Path) -> set[tuple[str, str]]:
    """The names that a file imports from core, each with its module."""
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {(alias.name, "") for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module, alias.name) for node in imports if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {(module, name) for module, name in names if module.partition(".")[0] == "lightning_gen"}


def resolve(dotted: str) -> object:
    """The module or the object of this name; raises ImportError or AttributeError if there is none."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_plugins_import_only_what_is_on_the_page(path):
    missing = [f"{module}.{name}" for module, name in sorted(imported(path)) if name not in PAGE.get(module, ())]
    assert not missing, "add it to 'What a plugin may import' in docs/plugins.md, or do not import it"


def test_the_page_names_what_exists():
    assert PAGE
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nor does it name anything by an old name
        for module, names in PAGE.items():
            for name in names:
                resolve(f"{module}.{name}")
