"""Small pictures of runs, made when they are asked for and kept in memory up to a bound."""

import threading
from collections import OrderedDict
from io import BytesIO
from pathlib import Path

from lightning_gen.report.pictures import picture_bytes

SIDE = 144  # pixels
MOST_PIXELS = 2**24  # of a picture that is made small
MOST_BYTES = 32 * 2**20  # of all that are kept


class Thumbnails:
    """PNG files by the picture that they are of, its time and its size."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str, int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, folder: Path, name: str) -> bytes | None:
        """The small PNG of a picture in `samples/`; None if that can't be shown."""
        try:
            found = (folder / "samples" / name).stat()
        except OSError:
            return None
        key = folder, name, found.st_mtime_ns, found.st_size
        with self._lock:  # one at a time: a page asks for hundreds
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            content = picture_bytes(folder, f"samples/{name}")
            small = None if content is None else _small(content)
            if small is not None:
                self._keep(key, small)
            return small

    def _keep(self, key: tuple[Path, str, int, int], small: bytes) -> None:
        self._kept[key] = small
        self._bytes += len(small)
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._kept.popitem(last=False)[1])


def _small(content: bytes) -> bytes | None:
    """The upper left square of a picture, whose images stay legible, in `SIDE` pixels; None if it is damaged."""
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG", "GIF")) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            side = min(image.size)
            square = image.crop((0, 0, side, side)).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
    if side > SIDE:
        square = square.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    square.save(file, "PNG", optimize=False)
    return file.getvalue()
