"""Fixtures of several test modules, and what makes the suite quick."""

import gc
import itertools
import os
import pickle
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import run
from hydra._internal import defaults_list
from omegaconf import OmegaConf


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no process works on one alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_TOOLS=1, a test that misses its browser or scheduler has failed."""
    report = yield
    if report.skipped and os.environ.get("REQUIRE_TOOLS"):
        report.outcome = "failed"
    return report


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look through it again and again."""
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _quick_hydra() -> Iterator[None]:
    """Half of the time of a composition goes to parsing the same 50 files, and to a map of choices that is not used."""
    load, parsed = OmegaConf.load, {}

    def load_once(file: Any) -> Any:
        if not hasattr(file, "seek"):
            return load(file)
        text = file.read()
        if text not in parsed:
            file.seek(0)
            parsed[text] = pickle.dumps(load(file))
        return pickle.loads(parsed[text])

    map_choices = defaults_list._create_interpolation_map

    def map_if_needed(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
        needed = any(default.is_interpolation() for default in defaults)
        return map_choices(overrides, defaults, self_added) if needed else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", load_once)
        patch.setattr(defaults_list, "_create_interpolation_map", map_if_needed)
        yield


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    folder = tmp_path_factory.mktemp("trained")

    def trained(images: int) -> Path:
        path = folder / str(images)
        return path if path.exists() else run(path, images=images)

    return trained


@pytest.fixture
def tiny_run(_trained: Callable[[int], Path], tmp_path: Path) -> Callable[..., Path]:
    """`tiny_run("name", images=64)`: a run of `helpers.runs.run` in a folder of this test, trained once a session."""

    def copied(name: str = "run", images: int = 64) -> Path:
        return shutil.copytree(_trained(images), tmp_path / name)

    return copied


@pytest.fixture(scope="session")
def playwright():
    """Playwright's module; tests without it are skipped."""
    return pytest.importorskip("playwright.sync_api", reason="needs Playwright: make tools")


@pytest.fixture(scope="module")  # while it is open, nothing else can run an event loop
def browser(playwright):
    """Chromium, without a window."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("needs Chromium: make tools")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def inaccessible(playwright) -> Callable[[Any], list[str]]:
    """`inaccessible(page)`: serious findings of axe-core on a page, wide and narrow, light and dark."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core: make tools").Axe()

    def findings(page: Any) -> list[str]:
        found = []
        for width, scheme in itertools.product((1280, 390), ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            found += [(width, scheme, each) for each in axe.run(page).response["violations"]]
        return [
            f"{width} {scheme} {each['id']}: {node['html'][:200]}"
            for width, scheme, each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    return findings
