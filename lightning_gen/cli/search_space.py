"""Search spaces of `lightning-gen tune`: `model.optimizer.lr` from `log(1e-5,1e-2)`."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from optuna.distributions import BaseDistribution

KINDS = "log(low,high), uniform(low,high), int(low,high) or choice(a,b,...)"
_TEXT = re.compile(r"(?P<kind>log|uniform|int|choice)\((?P<values>.*)\)")
_ITEM = re.compile(r"(?:[^,\[\]()'\"]|\[[^\]]*\]|\([^)]*\)|'[^']*'|\"[^\"]*\")+")

Value = float | int | str


@dataclass(frozen=True)
class Dimension:
    """The values of one key: an interval, or the texts of a choice."""

    text: str  # as it was typed
    kind: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()

    @property
    def first(self) -> Value:
        """One of its values."""
        return self.choices[0] if self.choices else self.number(self.low)

    def number(self, value: float) -> float | int:
        """A value of an interval, an int where it has ints alone."""
        return int(value) if self.kind == "int" else float(value)

    def among(self, value: Any) -> Value | None:
        """A value of a config as one of this space; None if it is outside."""
        if self.kind == "choice":
            return str(value) if str(value) in self.choices else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return self.number(value) if is_number and self.low <= value <= self.high else None

    def distribution(self) -> "BaseDistribution":
        """Optuna's."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.kind == "choice":
            return CategoricalDistribution(self.choices)
        if self.kind == "int":
            return IntDistribution(int(self.low), int(self.high))
        return FloatDistribution(self.low, self.high, log=self.kind == "log")


def read_dimension(key: str, text: Any) -> Dimension:
    """A dimension from its text. UserError for anything else than `KINDS`."""
    typed = f"space.{key}={text}"
    match = _TEXT.fullmatch(str(text).replace(" ", ""))
    if not match:
        raise UserError(f"{typed}: give {KINDS}")
    kind, items = match["kind"], _ITEM.findall(match["values"])
    if kind == "choice":
        if len(items) < 2 or len(set(items)) < len(items):
            raise UserError(f"{typed}: give two or more different values")
        return Dimension(str(text), kind, choices=tuple(items))
    try:
        low, high = (int(item) if kind == "int" else float(item) for item in items)
    except ValueError:
        raise UserError(f"{typed}: give two {'whole ' * (kind == 'int')}numbers, as {kind}(low,high)") from None
    if not low < high or (kind == "log" and low <= 0):
        raise UserError(f"{typed}: give {'positive ' * (kind == 'log')}numbers, the lower one first")
    return Dimension(str(text), kind, low, high)


def flat(space: Mapping[Any, Any], parent: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a YAML file's `space`, which may be nested, and their texts."""
    for name, value in space.items():
        key = f"{parent}.{name}" if parent else str(name)
        if isinstance(value, Mapping):
            yield from flat(value, key)
        else:
            yield key, value


def default_values(
    space: Mapping[str, Dimension], config: "DictConfig", choices: Mapping[str, Any]
) -> dict[str, Value]:
    """What a config, with its chosen options, has for the keys of a space; empty if something of it is outside."""
    from omegaconf import OmegaConf

    plain = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    found = {key: dimension.among(_value(plain, choices, key)) for key, dimension in space.items()}
    return {} if None in found.values() else found  # pyrefly: ignore[bad-return]


def _value(config: Any, choices: Mapping[str, Any], key: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if key in choices:
        return choices[key]
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:  # `optimizer@model.optimizer`, or an interpolation
        return None


def as_overrides(values: Mapping[str, Value]) -> list[str]:
    """The overrides that set these values."""
    return [f"{key}={value}" for key, value in values.items()]


def written_keys(space: Mapping[str, Dimension], overrides: Sequence[str]) -> dict[str, Dimension]:
    """The space with plain words, such as `lr`, written out where they mean one key."""
    from lightning_gen.config.plain_words import written_out

    full: dict[str, Dimension] = {}
    for key, dimension in space.items():
        text = f"{key}={dimension.first}"
        found = written_out("train", [*overrides, text]).get(text, [text])
        full[found[0].partition("=")[0] if len(found) == 1 else key] = dimension
    return full
