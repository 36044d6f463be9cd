"""`inspect` writes a picture below the current folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(autouse=True)
def _elsewhere(_workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_workplace)
