"""Schedules: a factor on a base value, such as the learning rate, as a function of the images seen.

They have no state, so a resumed run continues where it was, and a longer `trainer.max_images` stretches them.
"""

import math
from collections.abc import Callable
from functools import partial

from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt, PositiveInt
from lightning_gen.errors import UserError, named_failure

Schedule = Callable[[int, int], float]


def cheap(schedule: Schedule | None) -> Schedule | None:
    """The same function without the overhead of Hydra's partial objects, 0.1 ms per call."""
    if isinstance(schedule, partial):
        return partial(schedule.func, *schedule.args, **schedule.keywords)
    return schedule


def check_schedule(schedule: Schedule | None) -> None:
    """UserError unless it is a function of `(images_seen, total_images)` that gives a number."""
    if schedule is None:
        return
    with named_failure("model.schedule"):
        factor = schedule(0, 1)
    if not isinstance(factor, int | float):
        raise UserError(f"model.schedule: gives a {type(factor).__name__}, not a number")


def _warm_up(images_seen: int, warmup_images: int) -> float:
    return min(1.0, (images_seen + 1) / warmup_images) if warmup_images > 0 else 1.0


def constant(images_seen: int, total_images: int, *, warmup_images: NonNegativeInt = 0) -> float:
    """Linear warm-up over `warmup_images`, then 1."""
    return _warm_up(images_seen, warmup_images)


def _progress(images_seen: int, total_images: int, warmup_images: int, over_images: int | None) -> float:
    end = total_images if over_images is None else over_images
    return min(1.0, max(0.0, (images_seen - warmup_images) / max(1, end - warmup_images)))


def linear(
    images_seen: int,
    total_images: int,
    *,
    warmup_images: NonNegativeInt = 0,
    final: NonNegativeFloat = 0.0,
    over_images: PositiveInt | None = None,
) -> float:
    """Linear warm-up, then linear decay from 1 to `final` at `over_images` (None: at the run's end)."""
    progress = _progress(images_seen, total_images, warmup_images, over_images)
    return _warm_up(images_seen, warmup_images) * (1 + (final - 1) * progress)


def cosine(
    images_seen: int,
    total_images: int,
    *,
    warmup_images: NonNegativeInt = 0,
    final: NonNegativeFloat = 0.0,
    over_images: PositiveInt | None = None,
) -> float:
    """Linear warm-up, then cosine decay from 1 to `final` at `over_images` (None: the run's end), 1608.03983, eq. 5."""
    progress = _progress(images_seen, total_images, warmup_images, over_images)
    return _warm_up(images_seen, warmup_images) * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))
