"""The app in Chromium: sorting, filter, sliders, uploads, drawing; with keys, on a phone, light and dark, no error."""

import re
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from helpers.runs import run

from lightning_gen.view.app import make_app

pytestmark = [pytest.mark.slow, pytest.mark.tools]

TOKEN = "a-token"
PIXELS = [
    *("model=pixel_min_gru", "model.head_width=4", "data=fake", "data.image_shape=[1,6,6]", "data.num_images=16"),
    *("data.batch_size=8", "data.black_and_white=true", "debug=smoke", "trainer.max_images=16", "metrics=[]"),
    "callbacks.sample_grid.n=4",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> Path:
    from helpers.runs import train_with

    folder = tmp_path_factory.mktemp("outputs")
    run(folder / "first", "callbacks.sample_grid.every_images=16")
    run(folder / "second", "seed=1", images=32)
    train_with(folder / "pixels", *PIXELS)
    return folder


@pytest.fixture(scope="module")
def address(outputs):
    """Of the app, in a thread."""
    app = make_app([outputs], TOKEN, "view", (), "cpu", ())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def expect(playwright):
    playwright.expect.set_options(timeout=60_000)
    return playwright.expect


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "phone"])
def page(request, browser, expect, address):
    """The open table; at the end there were no errors on its console, and no requests to elsewhere."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(60_000)
    opened, problems = context.new_page(), []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    own = (address, "data:", "blob:")
    opened.on("request", lambda request: problems.extend([request.url] * (not request.url.startswith(own))))
    opened.goto(f"{address}/?token={TOKEN}")
    opened.wait_for_selector("tbody tr")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
    context.close()


def titles(page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def test_the_table_is_sorted_and_filtered_in_place(page, expect):
    assert "token" not in page.url
    page.evaluate("window.same = true")
    page.get_by_role("link", name="Run", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Run")
    assert titles(page) == ["first", "pixels", "second"]
    page.keyboard.press("Enter")  # the focus stays
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Run")
    assert titles(page) == ["second", "pixels", "first"]
    page.get_by_label("Filter").fill("seed=1")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert titles(page) == ["second"]
    page.get_by_label("Filter").fill("sead=1")
    expect(page.get_by_role("alert")).to_contain_text("no run has sead")
    assert page.evaluate("window.same")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("no run has sead")


def test_thumbnails_and_themes(page, expect):
    for image in page.locator(".thumb img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("(image) => image.naturalWidth") > 0
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_runs_side_by_side(page, expect):
    button = page.get_by_role("button", name="Compare chosen runs")
    assert button.is_disabled()
    for name in ("first", "second"):
        page.get_by_label(f"Choose {name}").focus()
        page.keyboard.press("Space")
    button.click()
    page.wait_for_url("**/compare**")  # and for its script
    section = page.locator("section", has=page.get_by_role("heading", name="Samples"))
    slider = section.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    assert section.locator("output").inner_text() == "16 images"
    expect(section.get_by_alt_text("samples of first")).to_have_attribute("src", re.compile("samples_0000000016.png"))
    page.keyboard.press("End")
    moments = section.locator(".at").all_inner_texts()
    assert sorted(moments) == ["after 32 images", "after 64 images"]
    assert page.locator(".chart path").count() > 2
    expect(page.get_by_label("Differences of the configs")).to_contain_text("trainer.max_images")


def test_the_report_of_a_run(page, expect):
    page.get_by_role("link", name="first", exact=True).click()
    page.get_by_role("slider", name="samples after").first.focus()
    page.keyboard.press("Home")
    expect(page.locator("#samples output").first).to_have_text("16 images")
    assert page.locator("#curves path").count() > 0
    page.get_by_role("link", name="Play with best").click()
    expect(page.locator("#status")).to_have_text("Ready")


def shown(page, expect, place: str) -> str:
    """The picture that is there, once there is one."""
    image = page.locator(f"#{place} img")
    expect(image).to_have_attribute("src", re.compile("^data:image"))
    return image.get_attribute("src")


def test_a_model_is_played_with(page, expect, outputs):
    page.get_by_role("link", name="Play with first").click()
    expect(page.locator("#status")).to_have_text("Ready")
    expect(page.get_by_role("heading", name="Complete a drawing")).to_be_hidden()
    before = shown(page, expect, "image")
    page.get_by_role("button", name="Pick as A").click()
    first = page.locator("#sliders input").first
    first.focus()
    page.keyboard.press("End")
    expect(page.locator("#image img")).not_to_have_attribute("src", before)
    page.get_by_role("button", name="Pick as B").click()
    page.get_by_label("Frames", exact=True).fill("4")
    page.get_by_role("button", name="Interpolate").click()
    assert shown(page, expect, "path").startswith("data:image/gif")
    page.get_by_role("button", name="Back to the seed").click()
    expect(page.locator("#image img")).to_have_attribute("src", before)
    with page.expect_download() as download:
        page.locator("#image .save").click()
    assert download.value.suggested_filename == "image.png"
    page.get_by_role("button", name="Sample", exact=True).click()
    shown(page, expect, "samples")
    picture = next((outputs / "first/samples").glob("samples_*.png"))
    page.locator("#file").set_input_files(picture)
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    shown(page, expect, "picture")
    page.get_by_role("button", name="Go on with its latents").click()
    expect(page.locator("#image img")).not_to_have_attribute("src", before)


def test_a_drawing_is_completed(page, expect):
    page.get_by_role("link", name="Play with pixels").click()
    expect(page.locator("#status")).to_have_text("Ready")
    expect(page.get_by_role("heading", name="Latents")).to_be_hidden()
    canvas = page.get_by_role("application")
    empty = canvas.evaluate("(canvas) => canvas.toDataURL()")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    drawn = canvas.evaluate("(canvas) => canvas.toDataURL()")
    assert drawn != empty
    canvas.click(position={"x": 20, "y": 20})
    assert canvas.evaluate("(canvas) => canvas.toDataURL()") != drawn
    page.get_by_role("button", name="Complete", exact=True).click()
    shown(page, expect, "completed")


@pytest.mark.parametrize("page", [(1280, "light")], indirect=True, ids=["all"])
def test_everybody_can_use_the_pages(page, expect, address, inaccessible):
    runs = page.locator("tbody th a").evaluate_all("(links) => links.map((link) => link.pathname.split('/').pop())")
    addresses = ["/", f"/runs/{runs[0]}", "/compare?" + "&".join(f"run={run}" for run in runs)]
    found = {}
    for path in addresses:
        page.goto(f"{address}{path}")
        found[path] = inaccessible(page)
    for name in ("first", "pixels"):
        page.goto(f"{address}/")
        page.get_by_role("link", name=f"Play with {name}").click()
        expect(page.locator("#status")).to_have_text("Ready")
        found[name] = inaccessible(page)
    assert not any(found.values()), found
