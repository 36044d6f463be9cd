"""The result of an evaluation: scores with uncertainty and origin, and the protocol they were computed by."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from lightning_gen.runs.record import variant_of

if TYPE_CHECKING:
    from torch import Tensor

Direction = Literal["lower", "higher"]  # the better one
Table = dict[str, list[Any]]  # columns by their heads
IMAGES, SEEDS, HALVES = "images", "seeds", "halves of the samples"
PAIRS = "random pairs of disjoint subsets of the real images"
RESPELLED = {"normalisation": "normalization", "neighbours": "neighbors"}  # keys of protocols in older files


@dataclass(frozen=True)
class Uncertainty:
    """A standard deviation, and what varies: of `IMAGES` and `HALVES` it is a standard error of the score."""

    std: float
    over: str


@dataclass(frozen=True)
class Origin:
    """The metric and the extractor of a score by their names in the config, and the images that it depends on."""

    metric: str
    extractor: str | None
    of_samples: bool  # also on generated images
    splits: list[str]  # of real images


@dataclass(frozen=True)
class Score:
    """A value, the mean over seeds if there are several; NaN where it does not exist."""

    value: float
    direction: Direction
    origin: Origin
    uncertainty: Uncertainty | None = None
    per_seed: list[float] = field(default_factory=list)  # empty for a single seed


@dataclass(frozen=True)
class RealAgainstReal:
    """A score with real images in place of the samples: the mean over `PAIRS`, each subset of `images` images."""

    value: float
    images: int
    uncertainty: Uncertainty

    def to_json(self) -> dict[str, Any]:
        """A plain mapping."""
        return {"value": self.value, "images": self.images, "uncertainty": vars(self.uncertainty).copy()}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        spread = entry["uncertainty"]
        return cls(_number(entry["value"]), entry["images"], Uncertainty(_number(spread["std"]), spread["over"]))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything beside the model that scores depend on; defaults stand for entries that a file lacks."""

    data: str
    split: str
    images: dict[str, str]  # fingerprints of the real images, by split
    binarize: bool
    n_real: int
    n_fake: int  # 0 if no metric looks at samples
    samples: str = "model"  # or the name of the folder that the samples are from
    resized: str | None = None  # how samples from files were made as large as the real images
    extractors: dict[str, dict[str, Any]]
    metrics: dict[str, dict[str, Any]]
    seed: int = 0
    seeds: int = 1
    half_samples: int = 0
    standard_errors: str | None = None  # how those over images are computed, if there are any
    batch_size: int | None = None
    ema: bool = False
    precision: str | None = None  # of networks; older versions state none, and used TensorFloat-32 convolutions on GPUs
    images_seen: int | None = None  # None for files
    versions: dict[str, str]
    model: dict[str, Any] | None = None  # changes of the checkpoint's config
    prior: dict[str, Any] | None = None  # of latents, fitted after training; None for the model's own
    sampling: dict[str, float] | None = None  # `truncation` and `temperature`, where they were chosen

    def to_json(self) -> dict[str, Any]:
        """Its fields in their order, without those of `optional` where there is nothing to state."""
        optional = ("model", "prior", "sampling", "resized", "precision", "standard_errors")
        return {key: value for key, value in vars(self).items() if key not in optional or value}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Inverse of `to_json`; unknown keys are ignored."""
        entry = _respelled(entry)
        return cls(**{key.name: entry[key.name] for key in fields(cls) if key.name in entry})


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores by name with their protocol, as in an entry of evaluation.json."""

    scores: dict[str, Score]
    protocol: Protocol
    real_against_real: dict[str, RealAgainstReal] = field(default_factory=dict)  # by name of the score
    curves: dict[str, list[float]] = field(default_factory=dict)  # scores along an axis, such as the frames'
    tables: dict[str, Table] = field(default_factory=dict)  # such as the scores of each class
    pictures: dict[str, "Callable[[], Tensor]"] = field(default_factory=dict, compare=False, repr=False)  # not in JSON
    skipped: dict[str, str] = field(default_factory=dict)  # reasons, by metric
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    time: str = ""  # ISO 8601
    broken_samples: int = 0  # with NaN or infinity; no part of the JSON
    source: dict[str, str] = field(default_factory=dict)  # the "checkpoint" file, or the folder of "samples"

    @property
    def variant(self) -> dict[str, Any]:
        """How samples were drawn, if otherwise than in training: the `prior` by name, truncation, temperature."""
        return variant_of(vars(self.protocol))

    @property
    def values(self) -> dict[str, float]:
        """Values of the scores, by name."""
        return {name: score.value for name, score in self.scores.items()}

    def to_json(self) -> dict[str, Any]:
        """An entry of evaluation.json; it may hold NaN, which JSON lacks."""
        scores = self.scores.items()
        uncertain = [(name, score.uncertainty) for name, score in scores if score.uncertainty]
        uncertain.sort(key=lambda item: item[1].over == HALVES)
        return {
            **self.source,
            "scores": self.values,
            "better": {name: score.direction for name, score in scores},
            "uncertainty": {name: vars(uncertainty).copy() for name, uncertainty in uncertain},
            "seeds": {name: score.per_seed for name, score in scores if score.per_seed},
            "origin": {name: vars(score.origin).copy() for name, score in scores},
            "real_against_real": {name: floor.to_json() for name, floor in self.real_against_real.items()},
            "curves": self.curves,
            **({"tables": self.tables} if self.tables else {}),
            "protocol": self.protocol.to_json(),
            "skipped": self.skipped,
            "warnings": self.warnings,
            "seconds": self.seconds,
            "time": self.time,
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Inverse of `to_json`, where null means NaN; KeyError if something is missing that scores can't do without."""
        kept = ("skipped", "warnings", "seconds", "time")
        return cls(
            scores={name: _score(entry, name) for name in entry["scores"]},
            protocol=Protocol.from_json(entry["protocol"]),
            real_against_real={
                name: RealAgainstReal.from_json(floor) for name, floor in entry.get("real_against_real", {}).items()
            },
            curves={name: _numbers(curve) for name, curve in entry.get("curves", {}).items()},
            tables={name: _columns(table) for name, table in entry.get("tables", {}).items()},
            source={key: entry[key] for key in ("checkpoint", "samples") if key in entry},
            **{key: entry[key] for key in kept if key in entry},
        )


def _score(entry: dict[str, Any], name: str) -> Score:
    uncertainty = entry["uncertainty"].get(name)
    return Score(
        _number(entry["scores"][name]),
        entry["better"][name],
        Origin(**entry["origin"][name]),
        uncertainty and Uncertainty(_number(uncertainty["std"]), uncertainty["over"]),
        _numbers(entry.get("seeds", {}).get(name, [])),
    )


def _respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {RESPELLED.get(key, key): _respelled(member) for key, member in value.items()}
    return value


def _columns(table: dict[str, list[Any]]) -> Table:
    return {head: _numbers(values) for head, values in table.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(values: list[float | None]) -> list[float]:
    return [_number(value) for value in values]
