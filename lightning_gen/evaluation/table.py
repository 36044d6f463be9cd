"""A table of runs and scores as text, Markdown, CSV or HTML."""

import csv
import html
import io
import math
import re
from dataclasses import dataclass, field

from lightning_gen.evaluation.report import with_error
from lightning_gen.evaluation.result import Direction
from lightning_gen.utilities.printable import printable

FORMATS = {".txt": "text", ".md": "markdown", ".csv": "csv", ".html": "html"}
ARROWS = {"lower": "↓", "higher": "↑"}
STANDARD_ERRORS = 2  # of a difference; scores nearer to the best are marked as noise
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } .best { font-weight: bold } .noise { background: #eef4ff }
p { color: #555; max-width: 60rem }"""


@dataclass
class Cell:
    """A score, and `mark`: "best", "noise" (too near to the best), or "".

    `error` is the standard error of one run's score where it is known, or the standard deviation over `trainings`.
    """

    value: float
    error: float | None
    mark: str = ""
    trainings: int = 1

    @property
    def standard_error(self) -> float | None:
        """Of the score, or of the mean over trainings."""
        return None if self.error is None else self.error / math.sqrt(self.trainings)

    def __str__(self) -> str:
        return with_error(self.value, self.error, ".5g")


@dataclass
class Table:
    """`cells` by score, in the order of `runs`; None for a run that lacks the score.

    `settings` are values by the key of the config in which the runs differ.
    """

    runs: list[str]
    cells: dict[str, list[Cell | None]]
    directions: dict[str, Direction]
    sort: str
    notes: list[str]
    settings: dict[str, list[str]] = field(default_factory=dict)

    def rendered(self, format: str) -> str:
        """The table in one of `FORMATS`."""
        return {"text": self.text, "markdown": self.markdown, "csv": self.csv, "html": self.html}[format]()

    def _rows(self, best: str, noise: str) -> list[list[str]]:
        signs = {"best": best, "noise": noise, "": "{}"}
        head = [
            "run",
            *map(printable, self.settings),
            *(f"{printable(score)} {ARROWS[self.directions[score]]}" for score in self.cells),
        ]
        rows = [
            [
                printable(run),
                *self._values(n),
                *(signs[cell.mark].format(cell) if cell else "-" for cell in self._row(n)),
            ]
            for n, run in enumerate(self.runs)
        ]
        return [head, *rows]

    def _values(self, n: int) -> list[str]:
        return [printable(values[n]) for values in self.settings.values()]

    def _row(self, n: int) -> list[Cell | None]:
        return [column[n] for column in self.cells.values()]

    def text(self) -> str:
        """Scores as columns; runs as columns where a line would get too long."""
        rows = self._rows(best="{} *", noise="{} ~")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        if sum(widths) + 2 * len(widths) > 160:
            rows = [list(column) for column in zip(*rows, strict=True)]  # transposed
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for name, *values in rows:
            cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *cells]))
        marks = f"* is the best; ~ is within {STANDARD_ERRORS} standard errors of the best"
        return "\n".join([*lines, "", printable(f"sorted by {self.sort}; {marks}"), *map(printable, self.notes)])

    def markdown(self) -> str:
        """GitHub's Markdown, the best in bold."""
        head, *rows = self._rows(best="**{}**", noise="{} ≈")
        escaped = [[_markdown(cell) for cell in line] for line in (head, *rows)]
        lines = [escaped[0], ["---", *["---:"] * (len(head) - 1)], *escaped[1:]]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        marked = f"≈ is within {STANDARD_ERRORS} standard errors of the best"
        notes = "\n".join(f"- {note}" for note in [marked, *map(_markdown, self.notes)])
        return f"{table}\n\n{notes}"

    def csv(self) -> str:
        """Full precision, with columns for errors and marks."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        scores = map(csv_text, self.cells)
        keys = map(csv_text, self.settings)
        writer.writerow(
            ["run", *keys, *(name for score in scores for name in (score, f"{score} error", f"{score} mark"))]
        )
        for n, run in enumerate(self.runs):
            row = [field for cell in self._row(n) for field in _csv_fields(cell)]
            writer.writerow([csv_text(run), *map(_csv_value, self._values(n)), *row])
        return file.getvalue().rstrip("\n")

    def html(self) -> str:
        """A page of its own, without other files."""
        head, *rows = self._rows(best="{}", noise="{}")
        plain = [""] * (1 + len(self.settings))
        marks = [[*plain, *(cell.mark if cell else "" for cell in self._row(n))] for n in range(len(rows))]
        lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
        for row, classes in zip(rows, marks, strict=True):
            cells = zip(row, classes, strict=True)
            lines.append(
                "<tr>" + "".join(f'<td class="{mark}">{html.escape(cell)}</td>' for cell, mark in cells) + "</tr>"
            )
        marked = f"Bold is the best, blue within {STANDARD_ERRORS} standard errors of the best."
        notes = [f"Sorted by {printable(self.sort)}. {marked}", *map(printable, self.notes)]
        return "\n".join(
            [
                '<!doctype html><html lang="en"><meta charset="utf-8"><title>Comparison of runs</title>',
                f"<style>{STYLE}</style><table>",
                *lines,
                "</table>",
                *(f"<p>{html.escape(note)}</p>" for note in notes),
                "</html>",
            ]
        )


def _markdown(text: str) -> str:
    """`text` as it is: without HTML, cells or links of its own; marks of the best stay."""
    text = re.sub(r"([\\`|\[\]])", r"\\\1", printable(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def csv_text(text: str) -> str:
    """A name as text for spreadsheets, which take what begins with one of these for a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _csv_value(text: str) -> str:
    """A value of a config: numbers stay numbers, negative ones too."""
    is_number = re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text)
    return "" if text == "-" else text if is_number else csv_text(text)


def _csv_fields(cell: Cell | None) -> list[float | str]:
    if cell is None:
        return ["", "", ""]
    return [cell.value, "" if cell.error is None else cell.error, cell.mark]
