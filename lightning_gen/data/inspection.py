"""The facts of a data set that `lightning-gen inspect` prints."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lightning_gen.data.source import Source, is_endless, num_bytes
from lightning_gen.utilities.text_lists import listed

Rows = list[tuple[str, str]]  # what, and its value
FEW_IMAGES = 500  # below it, a warning
UNEQUAL = 5  # times as many images of one class as of another


def facts(
    name: str, image_shape: tuple[int, ...], sources: Mapping[str, Source], class_names: Sequence[str] | None
) -> Rows:
    """What a model sees of a data set."""
    *frames, channels, _, _ = image_shape
    color = {1: "gray", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
    kind = f"{frames[0]} frames, {color}" if frames else color
    size = sum(map(num_bytes, sources.values())) / 2**20
    rows = [
        ("data", name),
        ("sequences" if frames else "images", ", ".join(f"{split} {_count(s)}" for split, s in sources.items())),
        ("shape", f"{' x '.join(map(str, image_shape))} ({kind}, 8 bits), {size:,.1f} MiB in memory"),
    ]
    if class_names is None:
        return [*rows, ("classes", "none")]
    return [*rows, ("classes", f"{len(class_names)}: {_class_counts(sources, class_names)}")]


def warnings_of(train: Source, class_names: Sequence[str] | None) -> list[str]:
    """Lines about training images that are few, or that are mostly of some classes."""
    lines = []
    if len(train) < FEW_IMAGES and not is_endless(train):
        lines.append(
            f"only {len(train):,} training images, which a model learns by heart: collect {FEW_IMAGES} or more, or add "
            "data/augment=[flip,crop] and for a GAN model/augment=ada; `lightning-gen neighbors` shows copies"
        )
    if class_names is None or train.labels is None:
        return lines
    counts = Counter(train.labels.tolist())
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many >= UNEQUAL * few:
        lines.append(
            f"classes are unequal, {class_names[most]} has {many:,} training images and {class_names[least]} {few:,}: "
            "rare classes come out worse; add images of them, or leave them out"
        )
    return lines


def _count(source: Source) -> str:
    return "without end" if is_endless(source) else f"{len(source):,}"


def _class_counts(sources: Mapping[str, Source], class_names: Sequence[str]) -> str:
    labels = [source.labels.tolist() for source in sources.values() if source.labels is not None]
    counts = Counter(number for split in labels for number in split)
    return listed([f"{name} {counts[number]:,}" for number, name in enumerate(class_names)], ", ")


def counted(values: Iterable[str]) -> str:
    """Each different value with its count, the most frequent first."""
    return listed([f"{value} ({count:,})" for value, count in Counter(values).most_common()], ", ") or "none"
