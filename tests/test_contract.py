"""The contract of docs/plugins.md and docs/api: what our plugins and templates use is on the pages, and is there."""

import ast
import importlib
import re
import warnings
from collections.abc import Iterator
from io import TextIOBase
from pathlib import Path

import pytest
import torch
from helpers.scripts import script
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torchmetrics import Metric

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lightning_gen"


API_PAGES = script("api_pages")
PAGE = API_PAGES.contract()
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


def test_the_api_pages_are_up_to_date():
    found = {path: path.read_text() for path in API_PAGES.PAGES.glob("*.md")}
    assert found == API_PAGES.pages(), "run python scripts/api_pages.py"


def members(path: Path) -> Iterator[str]:
    """The names of a file's classes' methods and attributes, and of attributes that are set anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            names = (name for each in node.body for name in API_PAGES.names_of(each))
            yield from (name for name in names if not name.startswith("_"))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and not node.attr.startswith("_"):
            yield node.attr


# Of others, whose names some of ours have too.
OTHERS = (torch, Tensor, LightningModule, LightningDataModule, Logger, Metric, Path, TextIOBase, str, dict)
FOREIGN = {name for other in OTHERS for name in dir(other)}
OURS = {name for path in PACKAGE.rglob("*.py") if "templates" not in path.parts for name in members(path)} - FOREIGN
DOCUMENTED = set(re.findall(r"\w+", "".join(API_PAGES.pages().values())))
PACKAGES = [*sorted(ROOT.glob("plugins/*/lightning_gen_*")), *sorted(PACKAGE.glob("templates/*/my_plugin"))]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_members_that_plugins_use_are_on_the_api_pages(package):
    files = list(package.rglob("*.py"))
    own = {name for path in files for name in members(path)}
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    missing = (used & OURS) - own - DOCUMENTED
    assert not missing, "add the class to 'What a plugin may import' in docs/plugins.md"
