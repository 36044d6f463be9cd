"""Bounded values, to annotate parameters with that configs set: values outside are refused before a run begins."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

from lightning_gen.utilities.renames import renamed

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_WITH_UNITS = re.compile(r"(\d+(?:\.\d+)?) ?(d|h|m|s)[a-z]*\s*")


@dataclass(frozen=True)
class AsTime:
    """The bound of a text that says how long; `examples` are for its description."""

    examples: str


Duration = Annotated[str, AsTime("30m, 1h30m or 01:30:00")]


def duration(text: str) -> timedelta | None:
    """The time that a text says, with units (`1h30m`) or as (days:)hours:minutes:seconds; None if it says none."""
    if re.fullmatch(r"(\d+:)?\d+:\d\d:\d\d", text):
        seconds, minutes, hours, days, *_ = [*map(int, reversed(text.split(":"))), 0]
        return timedelta(days, hours=hours, minutes=minutes, seconds=seconds)
    parts = _WITH_UNITS.findall(text.lower())
    if not parts or _WITH_UNITS.sub("", text.lower()):
        return None
    return timedelta(**{_UNITS[unit]: float(number) for number, unit in parts})


ImageShape = Annotated[tuple[PositiveInt, ...], MinLen(3), MaxLen(4)]  # (C, H, W) or (T, C, H, W)
ModelSize = Literal["small", "base", "large"]

__getattr__ = renamed(__name__)
