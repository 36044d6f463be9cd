"""The pages: templates that share those of reports, with a style sheet and scripts of our own."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response

from lightning_gen.report.page import STYLES, environment, own_text, variables
from lightning_gen.runs.record import Run
from lightning_gen.view import comparison as compared
from lightning_gen.view.library import Library

TEMPLATES = Path(__file__).with_name("templates")
# The parts of each file that a page loads: of the report's templates, then of our own.
FILES = {
    "view.css": (STYLES, ("view.css",)),
    "runs.js": (("elements.js",), ("runs.js",)),
    "report.js": (("elements.js", "pictures.js", "curves.js", "report.js"), ("live.js",)),
    "compare.js": (("elements.js", "curves.js"), ("compare.js",)),
    "play.js": (("elements.js",), ("play.js",)),
}
KINDS = {".css": "text/css", ".js": "text/javascript"}


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page of `templates/`."""
    html = environment(TEMPLATES).get_template(template).render(own=own_address, status=status, **values)
    return HTMLResponse(html, status)


@cache
def own_file(name: str) -> tuple[str, str] | None:
    """The text and the kind of one of `FILES`; None for any other name."""
    if name not in FILES:
        return None
    shared, own = FILES[name]
    parts = [own_text(*shared), *((TEMPLATES / part).read_text() for part in own)]
    return "\n".join(parts), KINDS[Path(name).suffix]


@cache
def own_address(name: str) -> str:
    """The address of one of `FILES`, which changes with its content."""
    text, _ = own_file(name) or ("", "")
    return f"/own/{name}?v={hashlib.sha256(text.encode()).hexdigest()[:12]}"


def report(run: Run, address: str, library: Library) -> Response:
    """The report of a run with our bar above it, renewed as the run goes."""
    from lightning_gen.report.contents import read_contents

    contents = read_contents(run.path)
    checkpoints = library.checkpoints(run)
    return page("run.html", **variables(contents), address=address, checkpoints=checkpoints)


def comparison(runs: Sequence[Run], addresses: Sequence[str], library: Library) -> Response:
    """The page of several runs."""
    titles = short_titles([library.title(run) for run in runs])
    lines, why = compared.differences(runs)
    return page(
        "compare.html",
        runs=[*zip(addresses, titles, runs, strict=True)],
        series=[asdict(each) for each in compared.pictures_of(runs)],
        charts=[asdict(chart) for chart in compared.overlaid(runs, titles)],
        scores=compared.scores(runs, titles),
        differences=lines,
        why=why,
    )


def short_titles(titles: Sequence[str]) -> list[str]:
    """Titles without the folders that they share."""
    parts = [title.split("/") for title in titles]
    shared = 0
    while all(len(each) > shared + 1 for each in parts) and len({each[shared] for each in parts}) == 1:
        shared += 1
    return ["/".join(each[shared:]) for each in parts]
