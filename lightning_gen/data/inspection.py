"""`lightning-gen inspect data=...`: what a data set holds and what a model will see of it."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from lightning_gen.data.source import Source, is_endless, num_bytes

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData

Rows = list[tuple[str, str]]  # what, and its value
MOST = 20


def inspect_command(cfg: DictConfig) -> None:
    """Print the facts of `cfg.data`; a folder with damaged or unlike images is reported, not refused."""
    from lightning_gen.config import instantiate

    data = instantiate(cfg.data)
    data.prepare_data()
    data.in_memory = False  # nothing is decoded that need not be
    for title, value in data.inspect():
        print(f"{title + ':':<13}{value}")


def facts(data: "ImageData") -> Rows:
    """What the model will see of data that are set up."""
    *frames, channels, _, _ = data.image_shape
    colour = {1: "grey", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    kind = f"{frames[0]} frames, {colour}" if frames else colour
    size = sum(map(num_bytes, data.sources.values())) / 2**20
    rows = [
        ("data", data.name),
        ("sequences" if frames else "images", ", ".join(f"{split} {_count(s)}" for split, s in data.sources.items())),
        ("shape", f"{' x '.join(map(str, data.image_shape))} ({kind}, 8 bits), {size:,.1f} MiB in memory"),
    ]
    if data.class_names is None:
        return [*rows, ("classes", "none")]
    return [*rows, ("classes", f"{data.num_classes}: {_class_counts(data)}")]


def _count(source: Source) -> str:
    return "without end" if is_endless(source) else f"{len(source):,}"


def _class_counts(data: "ImageData") -> str:
    labels = [source.labels.tolist() for source in data.sources.values() if source.labels is not None]
    counts = Counter(number for split in labels for number in split)
    return listed([f"{name} {counts[number]:,}" for number, name in enumerate(data.class_names or ())], ", ")


def counted(values: Iterable[str]) -> str:
    """Each different value with its count, the most frequent first."""
    return listed([f"{value} ({count:,})" for value, count in Counter(values).most_common()], ", ") or "none"


def listed(items: list[str], separator: str = "\n" + " " * 13) -> str:
    """The first 20 items, and how many more there are."""
    more = [f"... and {len(items) - MOST:,} more"] if len(items) > MOST else []
    return separator.join([*items[:MOST], *more])
