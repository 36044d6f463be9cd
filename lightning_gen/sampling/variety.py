"""How varied the samples of a trained model are: truncation and temperature, which trade variety for quality."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

from lightning_gen.capabilities import HasTemperature, Truncates
from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lightning_gen.image_generator import ImageGenerator


class Variety(NamedTuple):
    """Both above 0; None leaves what a model has been trained to sample."""

    truncation: float | None = None
    temperature: float | None = None

    @classmethod
    def of(cls, cfg: "DictConfig") -> Self:
        """The chosen values among a command's options; a temperature of 1 is that of training."""
        chosen = {key: float(cfg[key]) for key in cls._fields if cfg.get(key) is not None}
        return cls(**{key: value for key, value in chosen.items() if (key, value) != ("temperature", 1.0)})

    @property
    def chosen(self) -> dict[str, float]:
        """The values that are not None."""
        return {key: value for key, value in self._asdict().items() if value is not None}

    def use(self, model: "ImageGenerator") -> dict[str, float]:
        """Let the model sample so, and return what is `chosen`; UserError for one that can't."""
        if self.truncation is not None:
            if not isinstance(model, Truncates):
                fix = _instead("temperature", self.truncation, isinstance(model, HasTemperature))
                raise UserError(f"truncation={self.truncation}: {type(model).__name__} does not truncate, {fix}")
            model.truncation = self.truncation
        if self.temperature is not None:
            if not isinstance(model, HasTemperature):
                fix = _instead("truncation", self.temperature, isinstance(model, Truncates))
                raise UserError(f"temperature={self.temperature}: {type(model).__name__} has no temperature, {fix}")
            model.temperature = self.temperature
        return self.chosen

    @contextmanager
    def within(self, model: "ImageGenerator") -> Iterator[None]:
        """Let the model sample so for a while; UserError for one that can't."""
        before = {key: getattr(model, key, None) for key in self.chosen}
        self.use(model)
        try:
            yield
        finally:
            for key, value in before.items():
                setattr(model, key, value)


def _instead(key: str, value: float, possible: bool) -> str:
    return f"give {key}={value}" if possible else "leave it out"
