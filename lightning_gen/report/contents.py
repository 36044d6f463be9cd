"""What a run folder holds, gathered for its report: pictures, curves, scores, config, environment, log."""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lightning_gen.config.plugins import core_version
from lightning_gen.config.run_options import OPTIONS, chosen_option, title_of
from lightning_gen.config.saved import MAX_BYTES, plain_yaml
from lightning_gen.errors import UserError
from lightning_gen.report.commands import commands_of
from lightning_gen.report.curves import Chart, Curve, charts_of, hours_of, read_curves
from lightning_gen.report.environment import Environment, from_log, read_environment
from lightning_gen.report.pictures import Picture, Series, read_generated, read_series
from lightning_gen.report.scores import Scoring, read_scores
from lightning_gen.report.settings import Settings, brief, papers_of, read_settings
from lightning_gen.runs.files import inside, names_in, text_of
from lightning_gen.runs.record import Run
from lightning_gen.utilities.durations import duration

T = TypeVar("T")

LOG_BYTES, LOG_LINES = 2**16, 120
CONFIG_CHARACTERS = 200_000
# What files that are damaged, or a stranger's, can make their readers raise.
BROKEN = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, csv.Error)

_FIRST_LINE = re.compile(
    r"^(?P<model>.+?): (?P<parameters>[\d,]+) parameters; (?P<data>.+): (?P<splits>[\d, /]+) images of (?P<shape>\w+)$",
    re.MULTILINE,
)
_REMARK = re.compile(r"warning|error|stopped by|time: about|shorter: |is shortened|changed: |continues |collapse")


@dataclass(frozen=True)
class Contents:
    """All that a report shows."""

    folder: str
    title: str
    state: str  # as `Run.outcome`
    images_seen: int
    max_images: int | None
    facts: dict[str, str]
    series: list[Series]
    generated: list[Picture]
    charts: list[Chart]
    scorings: list[Scoring]
    settings: Settings
    config: str
    environment: Environment
    commands: dict[str, str]
    checkpoints: list[str]
    papers: dict[str, list[str]]
    remarks: list[str]
    log: list[str]
    version: str
    written: str
    unread: list[str] = field(default_factory=list)  # files that can't be shown, with the reason


def read_contents(folder: Path, outcome: str | None = None) -> Contents:
    """The contents of a run folder; `outcome` says how a run that still holds its folder ends, at this moment.

    UserError for a folder without a run.
    """
    if inside(folder, "config.yaml") is None:
        raise UserError(f"{folder}: no run's folder, it has no config.yaml; name the folder that train printed")
    unread: list[str] = []
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    read = partial(_read, folder, unread)
    config = read("config.yaml", _config_of, {})
    log = read("log.txt", lambda folder: text_of(folder, "log.txt", LOG_BYTES), "")
    scorings = read("evaluation.json", read_scores, [])
    environment = read("environment.json", read_environment, Environment())
    told = from_log(log, scorings[0].protocol if scorings else {})
    environment = replace(environment, rows=environment.rows | told)
    environment = environment.ending(outcome, now) if outcome else environment
    curves = read("metrics.csv", read_curves, {})
    series = read("samples", read_series, [])
    settings = read("config.yaml", lambda _: read_settings(config), Settings())
    options = config.get(OPTIONS)
    seen, most = _images_seen(curves, series, scorings), _max_images(config)
    first = next(reversed(list(_FIRST_LINE.finditer(log))), None)
    return Contents(
        folder=str(folder),
        title=title_of(config, options),
        state=outcome or brief(Run(folder, str(folder)).outcome),
        images_seen=seen,
        max_images=most,
        facts=_facts(first, settings, curves, environment),
        series=series,
        generated=read("generated", read_generated, []),
        charts=charts_of(list(curves.values())),
        scorings=scorings,
        settings=settings,
        config=text_of(folder, "config.yaml", MAX_BYTES)[:CONFIG_CHARACTERS],
        environment=environment,
        commands=commands_of(folder, seen, most, {each.name for each in series}),
        checkpoints=[name for name in names_in(folder, "checkpoints") if name.endswith(".ckpt")],
        papers=read("papers", lambda _: papers_of(config.get("model"), chosen_option("model", options)), {}),
        remarks=[line for line in log.splitlines() if _REMARK.search(line)][:LOG_LINES],
        log=log.splitlines()[-LOG_LINES:],
        version=core_version(),
        written=now,
        unread=unread,
    )


def _read(folder: Path, unread: list[str], name: str, reader: Callable[[Path], T], default: T) -> T:
    """What `reader` makes of the folder; `default`, and a note in `unread`, where a damaged file makes it raise."""
    try:
        return reader(folder)
    except UserError as error:
        unread.append(str(error))
    except BROKEN as error:
        unread.append(f"{name}: {' '.join(str(error).split()) or type(error).__name__}")
    return default


def _config_of(folder: Path) -> dict[str, Any]:
    content = plain_yaml(folder / "config.yaml", "report")
    return content if isinstance(content, dict) else {}


def _max_images(config: Mapping[str, Any]) -> int | None:
    trainer = config.get("trainer")
    value = trainer.get("max_images") if isinstance(trainer, dict) else None
    return value if isinstance(value, int) else None


def _images_seen(curves: Mapping[str, Curve], series: Sequence[Series], scorings: Sequence[Scoring]) -> int:
    counts = [int(curve.x[-1]) for curve in curves.values()]
    counts += [picture.images for each in series for picture in each.pictures]
    counts += [scoring.images_seen for scoring in scorings]
    return max(counts, default=0)


def _facts(
    first: re.Match[str] | None, settings: Settings, curves: Mapping[str, Curve], environment: Environment
) -> dict[str, str]:
    facts = {group.capitalize(): name for group, name in settings.choices.items() if group in ("experiment", "model")}
    if first:
        facts["Parameters"] = first["parameters"]
        facts["Data"] = f"{first['data']}, {first['splits']} images of {first['shape']}"
    if speed := curves.get("images_per_second"):
        facts["Speed"] = f"{sorted(speed.y)[len(speed.y) // 2]:,.4g} images/s"
        facts["Training time"] = duration(3_600 * hours_of(speed))
    if memory := curves.get("memory_gib"):
        facts["Peak memory"] = f"{max(memory.y):.3g} GiB"
    return facts | {title: environment.rows[title] for title in ("Device", "Trainer") if title in environment.rows}
