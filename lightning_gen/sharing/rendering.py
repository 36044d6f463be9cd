"""Templates of plain text: snippets of Python, and Markdown."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_gen.utilities.printable import printable

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """The text of a template with these values."""
    return _environment().get_template(template).render(**values)


def cell(value: Any) -> str:
    """Text in a cell of a Markdown table: its signs mean nothing there."""
    return re.sub(r"([|<>`])", r"\\\1", printable(str(value)))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment
