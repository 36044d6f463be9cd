"""A table of runs and scores as text, Markdown, CSV or HTML."""

import csv
import html
import io
from dataclasses import dataclass

from lightning_gen.evaluation.report import with_error

FORMATS = {".txt": "text", ".md": "markdown", ".csv": "csv", ".html": "html"}
ARROWS = {"lower": "↓", "higher": "↑"}
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } .best { font-weight: bold } .noise { background: #eef4ff }
p { color: #555; max-width: 60rem }"""


@dataclass
class Cell:
    """A score, its standard error where it is known, and `mark`: "best", "noise" (too near to the best), or nothing."""

    value: float
    error: float | None
    mark: str = ""

    def __str__(self) -> str:
        return with_error(self.value, self.error, ".5g")


@dataclass
class Table:
    """`cells` by score and in the order of `runs`; `better` is "lower" or "higher" by score."""

    runs: list[str]
    cells: dict[str, list[Cell | None]]
    better: dict[str, str]
    sort: str
    notes: list[str]

    def rendered(self, format: str) -> str:
        """In one of `FORMATS`."""
        return {"text": self.text, "markdown": self.markdown, "csv": self.csv, "html": self.html}[format]()

    def _rows(self, best: str, noise: str) -> list[list[str]]:
        signs = {"best": best, "noise": noise, "": "{}"}
        head = ["run", *(f"{score} {ARROWS[self.better[score]]}" for score in self.cells)]
        rows = [
            [run, *(signs[column[n].mark].format(column[n]) if column[n] else "-" for column in self.cells.values())]
            for n, run in enumerate(self.runs)
        ]
        return [head, *rows]

    def text(self) -> str:
        """Columns side by side; where they are too wide for a line, one under the other."""
        rows = self._rows(best="{} *", noise="{} ~")
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        if sum(widths) + 2 * len(widths) > 160:
            rows = [list(column) for column in zip(*rows, strict=True)]  # runs beside each other
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zipped))
            for zipped in (list(zip(row, widths, strict=True)) for row in rows)
        ]
        marks = "* is the best; ~ is within the noise of the best"
        return "\n".join([*lines, "", f"sorted by {self.sort}; {marks}", *self.notes])

    def markdown(self) -> str:
        """As GitHub shows tables: the best in bold."""
        head, *rows = self._rows(best="**{}**", noise="{} ≈")
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        notes = "\n".join(f"- {note}" for note in ("≈ is within the noise of the best", *self.notes))
        return f"{table}\n\n{notes}"

    def csv(self) -> str:
        """Full precision, errors in columns of their own."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *(name for score in self.cells for name in (score, f"{score} error", f"{score} mark"))])
        for n, run in enumerate(self.runs):
            cells = [column[n] for column in self.cells.values()]
            row = [part for cell in cells for part in ((cell.value, cell.error, cell.mark) if cell else ("", "", ""))]
            writer.writerow([run, *("" if part is None else part for part in row)])
        return file.getvalue().rstrip("\n")

    def html(self) -> str:
        """A page that needs nothing else."""
        head, *rows = self._rows(best="{}", noise="{}")
        marks = [
            [""] + [column[n].mark if column[n] else "" for column in self.cells.values()] for n in range(len(rows))
        ]
        lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"]
        for row, classes in zip(rows, marks, strict=True):
            cells = zip(row, classes, strict=True)
            lines.append(
                "<tr>" + "".join(f'<td class="{mark}">{html.escape(cell)}</td>' for cell, mark in cells) + "</tr>"
            )
        notes = [f"Sorted by {self.sort}. Bold is the best, blue within the noise of the best.", *self.notes]
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
