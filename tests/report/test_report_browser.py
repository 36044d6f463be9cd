"""The page of a run in Chromium, from a file: no error, no request, with keys alone, on a phone, light and dark."""

from pathlib import Path

import pytest
from helpers.runs import run

from lightning_gen.report.page import FILE

pytestmark = [pytest.mark.slow, pytest.mark.tools]

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = run(
        tmp_path_factory.mktemp("browser") / "run",
        *("callbacks.sample_grid.every_images=16", "callbacks.report.every_seconds=1e9"),
    )
    (folder / "samples/samples_moving_0000000064.gif").write_bytes(GIF)
    from lightning_gen.cli import main

    assert main(["report", str(folder)]) == 0
    return folder / FILE


@pytest.fixture(params=[(1280, "light", "no-preference"), (390, "dark", "reduce")], ids=["wide", "phone"])
def page(request, browser, report):
    """The open page; at the end there were no errors on its console, and no requests."""
    width, scheme, motion = request.param
    viewport = {"width": width, "height": 900}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion=motion)
    opened, problems = context.new_page(), []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request", lambda request: problems.extend([request.url] * (not request.url.startswith(("file", "data"))))
    )
    opened.goto(report.as_uri())
    yield opened
    assert problems == []
    context.close()


def test_the_slider_moves_through_the_run(page, playwright):
    figure = page.locator(".pictures", has=page.get_by_role("slider", name="samples after")).first
    slider, shown = figure.get_by_role("slider"), figure.locator(".frame img:visible")
    assert shown.get_attribute("alt") == "samples after 64 images"  # the newest
    slider.focus()
    page.keyboard.press("Home")
    assert shown.get_attribute("alt") == "samples after 16 images"
    page.keyboard.press("ArrowRight")
    assert shown.get_attribute("alt") == "samples after 32 images"
    assert slider.get_attribute("aria-valuetext") == "32 images"
    figure.locator(".strip button").first.click()
    assert figure.locator("output").inner_text() == "16 images"
    figure.get_by_role("button", name="Play").click()
    playwright.expect(figure.locator("output")).to_have_text("64 images")


def test_curves_tell_their_values(page):
    chart = page.locator(".chart", has_text="loss").first
    curves = chart.locator("svg")
    newest = curves.get_attribute("aria-valuetext")
    assert "at 64 images: train " in newest
    curves.focus()
    page.keyboard.press("Home")
    assert curves.get_attribute("aria-valuetext") != newest
    page.mouse.move(0, 0)
    names = chart.locator(".legend button")
    before = chart.locator("path").count()
    names.first.click()
    assert names.first.get_attribute("aria-pressed") == "false"
    assert chart.locator("path").count() == before - 1
    chart.get_by_role("button", name="log").click()
    assert chart.locator("svg text").count() > 2


def test_it_fits_the_window_in_both_themes(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colors = [page.evaluate("getComputedStyle(document.body).backgroundColor")]
    page.get_by_role("button", name="Light / dark").click()
    colors.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colors[0] != colors[1]


def test_commands_can_be_copied_and_animations_paused(page, playwright):
    page.get_by_role("button", name="Copy").first.click()
    assert "lightning-gen train run_dir=" in page.evaluate("getSelection().toString()")
    button = page.locator(".pause")
    calm = page.evaluate("matchMedia('(prefers-reduced-motion: reduce)').matches")
    assert button.inner_text() == ("Play animation" if calm else "Pause animation")
    button.click()
    playwright.expect(page.locator("canvas")).to_be_visible(visible=not calm)


@pytest.mark.parametrize("page", [(1280, "light", "reduce")], indirect=True, ids=["all"])
def test_everybody_can_use_the_page(page, inaccessible):
    assert inaccessible(page) == []
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert any("html-has-lang" in found for found in inaccessible(page))
