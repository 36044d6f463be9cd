"""Tests of the packages in this folder run without installing them: each is named as a plugin being developed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECTS = sorted(path.parent for path in Path(__file__).parent.glob("*/pyproject.toml"))
sys.path[:0] = [str(project) for project in PROJECTS]


@pytest.fixture(autouse=True, scope="module")
def plugins() -> Iterator[None]:
    """For these tests alone, and for processes they start."""
    packages = [path.parent.name for project in PROJECTS for path in project.glob("*/conf")]
    paths = [*map(str, PROJECTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_PLUGINS", ",".join(packages))
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        yield
