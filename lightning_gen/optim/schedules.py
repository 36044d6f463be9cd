"""Learning-rate schedules: the factor on the base rate, as a function of the images seen.

A function of progress has no state: a resumed run is where it was, and a longer `trainer.max_images` stretches it.
"""

import math
from collections.abc import Callable
from functools import partial

Schedule = Callable[[int, int], float]


def cheap(schedule: Schedule | None) -> Schedule | None:
    """The same function; Hydra's kind of partial checks its policy at every call, which takes 0.1 ms a step."""
    if isinstance(schedule, partial):
        return partial(schedule.func, *schedule.args, **schedule.keywords)
    return schedule


def _warm_up(images_seen: int, warmup_images: int) -> float:
    return min(1.0, (images_seen + 1) / warmup_images) if warmup_images > 0 else 1.0


def constant(images_seen: int, total_images: int, *, warmup_images: int = 0) -> float:
    """Linear warm-up over `warmup_images`, then 1."""
    return _warm_up(images_seen, warmup_images)


def _progress(images_seen: int, total_images: int, warmup_images: int, over_images: int | None) -> float:
    end = total_images if over_images is None else over_images
    return min(1.0, max(0.0, (images_seen - warmup_images) / max(1, end - warmup_images)))


def linear(
    images_seen: int, total_images: int, *, warmup_images: int = 0, final: float = 0.0, over_images: int | None = None
) -> float:
    """Linear warm-up, then a straight line from 1 to `final` at `over_images` (None: at the run's end)."""
    progress = _progress(images_seen, total_images, warmup_images, over_images)
    return _warm_up(images_seen, warmup_images) * (1 + (final - 1) * progress)


def cosine(
    images_seen: int, total_images: int, *, warmup_images: int = 0, final: float = 0.0, over_images: int | None = None
) -> float:
    """Linear warm-up, then half a cosine from 1 to `final` at `over_images` (None: the end), 1608.03983."""
    progress = _progress(images_seen, total_images, warmup_images, over_images)
    return _warm_up(images_seen, warmup_images) * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))
