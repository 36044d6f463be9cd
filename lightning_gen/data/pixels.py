"""What the pixels of image files hold: values, frames, and what of them may be meant otherwise than it is read."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from lightning_gen.data.decode import (
    UNREADABLE,
    Limits,
    Samples,
    full_range,
    has_clear_pixels,
    is_gray,
    opened,
    reason,
    samples_of,
    values,
    with_channels,
)
from lightning_gen.data.folder_scan import each
from lightning_gen.data.inspection import counted
from lightning_gen.utilities.text_lists import listed

MANY = 1000  # files whose headers are read at the start of a run
FEW = 64  # files that are decoded then, to look for doubtful values
_ANIMATED = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")  # not MPO: photographs with a preview or a depth map


class Pixels(NamedTuple):
    """The least and the greatest value of an image, and how its file stores values; `frames` counts its pages too."""

    kind: str
    low: float
    high: float
    full: Limits | None  # the values that are black and white by default
    frames: int
    profile: str = ""  # of colors other than sRGB
    clear: bool = False  # some pixels are transparent


def num_frames(image: Image.Image) -> int:
    """The frames of an animation or the pages of a file."""
    return getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1


def color_profile(image: Image.Image) -> str:
    """The name of the ICC profile of a color image, which is not applied; empty for none and for sRGB."""
    profile = image.info.get("icc_profile")
    if not profile or is_gray(image.mode):
        return ""
    from PIL import ImageCms

    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except (ImportError, OSError, ImageCms.PyCMSError):  # ImportError: Pillow was built without the library
        name = "unknown"
    return "" if "srgb" in name.lower() else name


def pixels_of(image: Image.Image, samples: Samples) -> Pixels:
    """The facts of an image with `samples_of` it before it was decoded; raises one of `UNREADABLE`."""
    numbers = values(image, samples)
    kind = "floating point" if numbers.dtype.kind == "f" else _bits(samples)
    if samples.bits > 8 and numbers.dtype.itemsize == 1:
        kind = f"the upper 8 of {samples.bits} bits"  # all that Pillow reads of several channels
    low, high = numbers.min().item(), numbers.max().item()
    clear = has_clear_pixels(image)
    return Pixels(kind, low, high, full_range(image.mode, samples), num_frames(image), clear=clear)


def _bits(samples: Samples) -> str:
    return f"{samples.bits} bit" + "s" * (samples.bits > 1)


def examine(path: Path, channels: int, limits: Limits | None) -> tuple[Pixels | None, str | None]:
    """The facts of a file, None for a damaged one, and why it cannot be converted to 8 bits, None if it can."""
    facts = None
    try:
        with opened(path) as image:
            samples = samples_of(image)
            facts = pixels_of(image, samples)
            with_channels(image, channels, limits, samples)
    except UNREADABLE as error:
        return facts, reason(error)
    return facts, None


def decode_errors(
    root: Path, paths: list[Path], num_threads: int, channels: int | None, limits: Limits | None
) -> dict[Path, str]:
    """Decode every file; the reason for each that fails."""

    def decode(path: Path) -> str | None:
        try:
            with opened(root / path) as image:
                with_channels(image, channels or 3, limits)
        except UNREADABLE as error:
            return reason(error)
        return None

    return {path: why for path, why in each(decode, paths, num_threads).items() if why is not None}


def doubts_of_files(
    root: Path, paths: list[Path], num_threads: int, limits: Limits | None, fix: str = "data=frames reads all"
) -> list[str]:
    """Lines about what in the files may be meant otherwise; of large folders, some files are looked at.

    `fix` is what reads further frames of files; without one they are read.
    """

    def look(path: Path, decode: bool = True) -> Pixels | None:
        try:
            with opened(root / path) as image:
                samples = samples_of(image)
                if decode:
                    return pixels_of(image, samples)
                return Pixels(_bits(samples), 0, 0, None, num_frames(image), color_profile(image))
        except UNREADABLE:
            return None  # it is reported when it is used

    headers = each(partial(look, decode=False), spread(paths, MANY), num_threads)
    deep = [path for path, header in headers.items() if header and header.kind != "8 bits"]
    others = [path for path, header in headers.items() if header and header.kind == "8 bits"]
    decoded = each(look, [*spread(deep, FEW), *spread(others, FEW // 4)], num_threads)
    several = {path: header.frames for path, header in headers.items() if header and header.frames > 1}
    frames = doubts_of_frames(several, len(headers), fix) if fix else []
    frames += doubts_of_profiles([header.profile for header in headers.values() if header])
    return frames + doubts_of_values(filter(None, decoded.values()), limits)


def frames_of(paths: list[Path], num_threads: int = 8) -> list[int]:
    """The numbers of frames of the files; of many, some are looked at. Damaged ones count as single."""

    def count(path: Path) -> int:
        try:
            with opened(path) as image:
                return num_frames(image)
        except UNREADABLE:
            return 1

    return list(each(count, spread(paths, MANY), num_threads).values())


def doubts_of_frames(several: Mapping[Any, int], files: int, fix: str) -> list[str]:
    """A line about files with several frames, of which the first is used."""
    if not several:
        return []
    path, frames = next(iter(several.items()))
    return [
        f"{len(several):,} of {files:,} files hold several frames or pages ({path} has {frames}), of which the first "
        f"is used; {fix}"
    ]


def doubts_of_profiles(profiles: list[str]) -> list[str]:
    """A line about the color profiles of files, empty for sRGB."""
    if not any(profiles):
        return []
    named = counted(filter(None, profiles))
    return [f"color profiles are not applied, so colors are a little off: {named} of {len(profiles):,} files"]


def ranges(pixels: Iterable[Pixels]) -> list[Pixels]:
    """For each kind of values, the least and the greatest of all."""
    by_kind = sorted(pixels, key=lambda facts: facts.kind)
    return [_merged(list(group)) for _, group in groupby(by_kind, key=lambda facts: facts.kind)]


def _merged(group: list[Pixels]) -> Pixels:
    return group[0]._replace(low=min(p.low for p in group), high=max(p.high for p in group))


def shown_ranges(pixels: Iterable[Pixels]) -> str:
    """The values as `inspect` prints them."""
    return listed([f"{p.kind}: {number(p.low)} to {number(p.high)}" for p in ranges(pixels)]) or "none"


def shown_transparency(pixels: Sequence[Pixels], channels: int) -> str:
    """What becomes of transparency, as `inspect` prints it; empty where there is none."""
    clear = sum(facts.clear for facts in pixels)
    if channels == 4:
        return f"in {clear:,} of {len(pixels):,} files" if clear else "in no file; data.channels=3 is enough"
    if not clear:
        return ""
    return f"in {clear:,} of {len(pixels):,} files: blended with white; data.channels=4 keeps it"


def doubts_of_values(pixels: Iterable[Pixels], limits: Limits | None) -> list[str]:
    """Lines about values that are clipped, or of which little is left in 8 bits."""
    return [doubt for facts in ranges(pixels) if (doubt := _doubt(facts, limits))]


def _doubt(facts: Pixels, limits: Limits | None) -> str | None:
    kind, low, high, full = facts[:4]
    black, white = limits or full or (low, high)
    said = f"values ({kind}) go from {number(low)} to {number(high)}"
    if black == white or low == high == 0:  # one value, or black: what it shows
        return None
    if limits is None and (low < black or high > white):
        fix = f"set data.range=[{number(low)},{number(high)}]"
        return f"{said}: those outside {number(black)} to {number(white)} are clipped; {fix}"
    deep = white > 255 or kind.startswith("the upper")
    if (high - black) / (white - black) < (1 / 2 if deep else 1 / 16):
        top = next(2**bits - 1 for bits in range(8, 33) if 2**bits > high) if deep and limits is None else high
        fix = f"set data.range=[{number(min(low, 0))},{number(top)}]"
        fix = "convert the files to 8 bits" if kind.startswith("the upper") else fix
        return f"{said} of {number(white)}: the images are dark; if that is not meant, {fix}"
    if limits is not None and low >= white:
        return f"{said}: data.range=[{number(black)},{number(white)}] makes all of them white"
    return None


def number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly spread."""
    return [items[place * len(items) // most] for place in range(most)] if len(items) > most else list(items)
