"""Write the page report.html of runs, also of old ones.

usage: lightning-gen report RUN [RUN ...] [out=FILE]

RUN is a run's folder. Its pictures, curves, scores, config, environment and log become one HTML page, which opens
without a network and can be sent as it is. Training writes and renews the page by itself (callbacks=report), and
evaluate and sample renew it when they add to a run that has one; this command does so for any run folder. Key:
  out=FILE       another place for the page of a single run; by default report.html in its folder
"""

from pathlib import Path

from lightning_gen.errors import UserError
from lightning_gen.report.page import FILE, write_report
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import did_you_mean


def run(arguments: list[str]) -> int:
    """Write the pages; UserError for a folder that is no run's."""
    if not arguments:
        print(__doc__.strip())
        return 0
    folders, out = _parse(arguments)
    for folder in folders:
        try:
            path = write_report(folder, out=out)
        except OSError as error:
            place = out or folder / FILE
            raise UserError(f"{place}: {error.strerror}; give out=FILE, a file that can be written") from error
        print(printable(f"report: {path}"))
    return 0


def _parse(arguments: list[str]) -> tuple[list[Path], Path | None]:
    folders, out = [], None
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or Path(argument).exists():
            folders.append(Path(argument).expanduser())
        elif key == "out" and value:
            out = Path(value).expanduser()
        else:
            fix = did_you_mean(key, ["out"]) or "; its key is out=FILE"
            raise UserError(f"{argument}: report has no such key{fix}")
    if not folders:
        raise UserError("report needs a run: lightning-gen report RUN")
    if out and len(folders) > 1:
        raise UserError(f"out={out}: is one file, and there are {len(folders)} runs; leave it out")
    return folders, out
