"""Compare the scores of several runs in one table.

usage: lightning-gen compare RUN RUN ... [key=value ...]

RUN is a run's folder, or an evaluation.json. Keys of their configs in which runs differ are columns, too. Keys:
  sort=SCORE     sort by this score, best first; by default the first that all runs have
  scores=A,B     the columns; by default all
  format=FORMAT  text, markdown, csv or html; by default that of the suffix of out, else text
  out=FILE       a file to write the table to as well
  force=true     rank scores of unequal protocols too
  group=false    a row for each run; by default runs that differ in their seed alone are one row, with the mean and the
                 standard deviation over these trainings
"""

import os
from pathlib import Path

from lightning_gen.errors import UserError
from lightning_gen.evaluation.comparison import columns_of, compare, read_runs
from lightning_gen.evaluation.table import FORMATS
from lightning_gen.utilities.suggestions import did_you_mean


def run(arguments: list[str]) -> int:
    """Print the table; UserError if there is nothing to compare."""
    if not arguments:
        print(__doc__.strip())
        return 0
    options, paths = _parse(arguments)
    runs = read_runs(paths)
    columns = columns_of(options["scores"], runs)
    table = compare(runs, columns, options["sort"] or None, options["force"] == "true", options["group"] == "true")
    out = Path(options["out"]).expanduser() if options["out"] else None
    chosen = options["format"] or FORMATS.get(out.suffix if out else "", "text")
    if chosen not in FORMATS.values():
        fix = did_you_mean(chosen, FORMATS.values()) or f"; give {', '.join(dict.fromkeys(FORMATS.values()))}"
        raise UserError(f"format={chosen}: no such format{fix}")
    text = table.rendered(chosen)
    if out is None:
        print(text)
        return 0
    from lightning_gen.utilities.atomic_files import atomic_write

    if out.exists():
        raise UserError(f"out={out}: is there already, name another file")
    atomic_write(out, text + "\n")
    print(table.rendered("text"))
    print(f"written to {out}")
    return 0


def _parse(arguments: list[str]) -> tuple[dict[str, str], list[Path]]:
    options, paths = dict(OPTIONS), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not Path(argument).exists():
            if key not in OPTIONS:
                fix = did_you_mean(key, OPTIONS) or f"; its keys are {', '.join(OPTIONS)}"
                raise UserError(f"{argument}: compare has no such key{fix}")
            options[key] = value
        else:
            paths.append(Path(os.path.expanduser(argument)))
    for key in ("force", "group"):
        if options[key] not in ("true", "false"):
            raise UserError(f"{key}={options[key]}: give true or false")
    if not paths:
        raise UserError("compare needs runs: lightning-gen compare RUN RUN ...")
    return options, paths


OPTIONS = {"sort": "", "scores": "", "format": "", "out": "", "force": "false", "group": "true"}
