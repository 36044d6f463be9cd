"""The page of a run: one HTML file that loads nothing from elsewhere.

All text in it is escaped. Its content security policy allows our own script and style, by their hashes, and pictures
that are part of the page, and nothing else.
"""

import base64
import hashlib
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_gen.errors import UserError
from lightning_gen.report.contents import Contents, read_contents
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

FILE = "report.html"
TEMPLATES = Path(__file__).with_name("templates")
STYLES = ("report.css",)
SCRIPTS = ("elements.js", "pictures.js", "curves.js", "report.js")
MARK = '<meta name="generator" content="lightning-gen report">'

# As in CITATION.cff, which installed packages lack.
CITATION = """@software{lightning_gen,
  title = {lightning-gen: experiments with image generators in PyTorch Lightning},
  author = {{The lightning-gen developers}},
  version = {%s},
  license = {Apache-2.0}
}"""


def write_report(folder: Path, outcome: str | None = None, out: Path | None = None) -> Path:
    """Write the report of a run folder, to `out` or to its report.html; `outcome`: see `read_contents`.

    UserError for a folder without a run, and where a report.html is not ours. OSError if it can't be written.
    """
    path = out or folder / FILE
    if path.exists() and not (path.is_file() and MARK.encode() in _head(path)):
        raise UserError(f"{path}: is no report of lightning-gen; move it away, or give out=FILE")
    atomic_write(path, render(read_contents(folder, outcome)))
    return path


def renew_report(folder: Path) -> None:
    """Write the report of a run folder that has one anew, after something was added to it.

    Where that can't be done, as in a folder that is read-only, the report stays as it was: nobody has asked for it.
    """
    with suppress(Exception):
        if (folder / FILE).is_file():
            write_report(folder)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(1_000)


def render(contents: Contents) -> str:
    """The HTML of a report."""
    return environment().get_template("report.html").render(**variables(contents), **_own_parts())


def variables(contents: Contents) -> dict[str, Any]:
    """What the template `report.html` shows."""
    charts = [*contents.charts, *(chart for scoring in contents.scorings for chart in scoring.charts)]
    return {
        "run": contents,
        "charts": [asdict(chart) for chart in charts],
        "differences": [(row.key, row.value, row.default) for row in contents.settings.differences],
        "citation": CITATION % contents.version,
        "mark": MARK,
    }


def own_text(*names: str) -> str:
    """Our style sheets or scripts of these names, one after the other."""
    return "\n".join((TEMPLATES / name).read_text() for name in names)


@cache
def _own_parts() -> dict[str, Any]:
    """Our style and script, and their hashes."""
    from markupsafe import Markup

    style, script = own_text(*STYLES), own_text(*SCRIPTS)
    parts = {"style": Markup(style), "script": Markup(script)}
    return parts | {f"{name}_hash": Markup(_hash(part)) for name, part in parts.items()}


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def environment(*folders: Path) -> "Environment":
    """Jinja's environment for the templates of reports, and for those in other folders, which may extend them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    """Text with its control characters, and those that reorder or hide text, as escapes; lines stay."""
    return "\n".join(map(printable, value.split("\n"))) if type(value) is str else value
