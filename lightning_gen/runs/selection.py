"""Which runs are listed, and in which order: `model=vae`, `kid<0.4`, `sort=kid`."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lightning_gen.errors import UserError
from lightning_gen.runs.record import Run
from lightning_gen.utilities.suggestions import did_you_mean

_CONDITION = re.compile(r"(?P<key>[\w./@-]+?)(?P<sign><=|>=|!=|=|<|>)(?P<value>.*)")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
FIELDS = ("state", "model", "data", "name", "started", "images", "size")


class Condition(NamedTuple):
    """What a listed run fulfills, such as `kid<0.4`: a field, a score or a key of its config."""

    key: str
    sign: str
    value: str

    def holds(self, found: Any) -> bool:
        """Whether a run with this value of the key fulfills it; one without a value fulfills only `!=`."""
        if found is None:
            return self.sign == "!="
        if isinstance(found, int | float) and not isinstance(found, bool):
            return _SIGNS[self.sign](found, self._number())
        same = str(found).lower() == self.value.lower()
        if self.sign in ("=", "!="):
            return same == (self.sign == "=")
        return _SIGNS[self.sign](str(found), self.value)

    def _number(self) -> float:
        try:
            return float(self.value.replace("_", ""))
        except ValueError:
            raise UserError(f"{self.key}{self.sign}{self.value}: {self.key} is a number, give one") from None


def condition(text: str) -> Condition | None:
    """The condition in a word of the command line; None if it is none."""
    match = _CONDITION.fullmatch(text)
    return Condition(**match.groupdict()) if match else None


def values_of(runs: Sequence[Run], key: str) -> dict[Run, Any]:
    """For each run a field, a score by its name or the first part of it, or a key of its config; None if it has none.

    Configs, which take time to read, are read only for a key that no run has among its scores.
    """
    if key in FIELDS:
        return {run: getattr(run, key) for run in runs}
    names = {run: score_name(run, key) for run in runs}
    if any(names.values()):
        return {run: run.scores[name] if name else None for run, name in names.items()}
    return {run: _config_value(run.config, key) for run in runs}


def _config_value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config.get("_target_", "").rpartition(".")[2] or None if isinstance(config, dict) else config


def score_name(run: Run, key: str) -> str | None:
    """The first score that a key names."""
    return next((name for name in run.scores if names_score(key, name)), None)


def names_score(key: str, score: str) -> bool:
    """Whether a key names a score in whole or by its first part: `kid` is `kid/efficientnet_lite0`."""
    return key in (score, score.partition("/")[0])


def scores_named(runs: Sequence[Run], keys: Iterable[str]) -> list[str]:
    """The scores that keys of conditions, or of the order, name: they are shown before any other."""
    found = (next(filter(None, (score_name(run, key) for run in runs)), None) for key in keys)
    return list(dict.fromkeys(filter(None, found)))


def selected(runs: Sequence[Run], conditions: Sequence[Condition]) -> list[Run]:
    """The runs that fulfill all conditions; UserError for a key that no run has."""
    for wanted in conditions:
        found = values_of(runs, wanted.key)
        if runs and all(value is None for value in found.values()):
            raise UserError(f"{''.join(wanted)}: no run has {wanted.key}{_hint(runs, wanted.key)}")
        runs = [run for run in runs if wanted.holds(found[run])]
    return list(runs)


def ordered(runs: Sequence[Run], key: str) -> list[Run]:
    """Sorted by a field or config key, smallest first, or by a score, best first; those without it are last."""
    found = values_of(runs, key)
    having = [run for run in runs if found[run] is not None and found[run] == found[run]]
    if not having:
        raise UserError(f"sort={key}: no run has it{_hint(runs, key)}")
    name = score_name(having[0], key)
    highest = name is not None and having[0].better.get(name) == "higher"
    numbers = all(isinstance(found[run], int | float) for run in having)
    having.sort(key=lambda run: found[run] if numbers else str(found[run]), reverse=highest)
    return [*having, *(run for run in runs if run not in having)]


def shown(value: Any) -> str:
    """A value in a table."""
    if value is None or value == "":
        return "-"
    return f"{value:.5g}" if isinstance(value, float) and not math.isnan(value) else str(value)


def _hint(runs: Sequence[Run], key: str) -> str:
    scores = dict.fromkeys(name.partition("/")[0] for run in runs for name in run.scores)
    return did_you_mean(key, [*FIELDS, *scores]) or f"; there are {', '.join([*FIELDS, *scores])}"
