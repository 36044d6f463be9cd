"""Tensors to images: 8-bit values, grids, PNG, GIF and MP4 files."""

import math
import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_gen.errors import missing_package
from lightning_gen.utilities.atomic_files import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
BITS_PER_PIXEL = 4  # of a video: pictures are small, and sharp pixels matter more than the size of the file


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1] to 0...255 by rounding; values outside are clamped. NaN becomes 0."""
    # .byte() truncates: the half makes the conversion of 8-bit images to [-1, 1] and back exact.
    return ((images.float() + 1) * 127.5 + 0.5).floor().nan_to_num(0).clamp(0, 255).to(torch.uint8)


def over_white(images: Tensor) -> Tensor:
    """Images `(..., 4, H, W)`, uint8 or in [-1, 1], blended with white by their alpha, `(..., 3, H, W)`.

    Images without alpha stay as they are.
    """
    if images.shape[-3] != 4:
        return images
    bytes_given = images.dtype == torch.uint8
    values = images.float() / 255 if bytes_given else (images + 1) / 2
    colors, alpha = values[..., :3, :, :], values[..., 3:, :, :].clamp(0, 1)
    blended = (colors * alpha + 1 - alpha) * 2 - 1
    return to_uint8(blended) if bytes_given else blended


def enlarged(images: Tensor, scale: int) -> Tensor:
    """Images `(..., H, W)` with each pixel as a square of `scale` pixels a side."""
    return images.repeat_interleave(scale, -2).repeat_interleave(scale, -1) if scale > 1 else images


def grid(images: Tensor, columns: int | None = None, border: int = 2) -> Tensor:
    """Lay out images `(B, C, H, W)` row by row in one `(C, H', W')`, with black borders of `border` pixels.

    The grid is square by default. Empty cells are black (transparent with four channels).
    """
    count, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    black = 0 if images.dtype == torch.uint8 else -1
    cells = images.new_full((rows * columns, channels, height + border, width + border), black)
    cells[:count, :, :height, :width] = images
    cells = cells.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)  # (C, H', W')
    return torch.nn.functional.pad(cells, (border, 0, border, 0), value=black)


def film(sequences: Tensor, border: int = 2) -> Tensor:
    """Sequences `(B, T, C, H, W)` as rows of frames in one image `(C, H', W')`."""
    return grid(sequences.flatten(0, 1), columns=sequences.shape[1], border=border)


def moving_grid(sequences: Tensor, columns: int | None = None) -> Tensor:
    """Sequences `(B, T, C, H, W)` side by side in one sequence `(T, C, H', W')`."""
    return torch.stack([grid(frames, columns) for frames in sequences.unbind(1)])


def beside(parts: Iterable[Tensor]) -> Tensor:
    """Images `(..., H, W)` of one height next to each other, with white lines between."""
    first, *others = parts
    line = first.new_full((*first.shape[:-1], 2), 255 if first.dtype == torch.uint8 else 1)
    return torch.cat([first, *(piece for image in others for piece in (line, image))], dim=-1)


def pairs(above: Tensor, below: Tensor, columns: int) -> Tensor:
    """A grid of images `(B, C, H, W)` in rows of `columns`, each row of `above` followed by the same row of `below`."""
    columns = min(columns, len(above))
    missing = -len(above) % columns  # cells to fill the last row with
    filled = [torch.cat([images, images.new_full((missing, *images.shape[1:]), -1)]) for images in (above, below)]
    rows = zip(*(images.split(columns) for images in filled), strict=True)
    return grid(torch.cat([row for pair in rows for row in pair]), columns=columns)


def to_pillow(image: Tensor) -> "Image":
    """One image `(C, H, W)`, uint8 or in [-1, 1], with 1, 3 or 4 channels; raises ValueError for other numbers."""
    from PIL.Image import fromarray

    if len(image) not in MODES:
        raise ValueError(f"an image file has 1, 3 or 4 channels, not {len(image)}")
    values = image if image.dtype == torch.uint8 else to_uint8(image)
    array = values.cpu().numpy()
    return fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0).copy())


def to_pil(images: Tensor) -> "Image | list[Image]":
    """Images `(N, C, H, W)`, uint8 or in [-1, 1], as a list of Pillow images; one `(C, H, W)` as one.

    Of sequences `(N, T, C, H, W)` each becomes a row of its frames. Raises ValueError unless C is 1, 3 or 4.
    """
    if images.ndim == 3:
        return to_pillow(images)
    if images.ndim not in (4, 5):
        raise ValueError(f"to_pil takes (N, C, H, W), (C, H, W) or (N, T, C, H, W), not {tuple(images.shape)}")
    return [to_pillow(image if image.ndim == 3 else film(image[None])) for image in images]


def save_png(image: Tensor, path: str | os.PathLike) -> None:
    """Write one image `(C, H, W)`, uint8 or in [-1, 1]."""
    atomic_write(path, png(image))


def png(image: Tensor) -> bytes:
    """One image `(C, H, W)`, uint8 or in [-1, 1], as a PNG file."""
    file = BytesIO()
    to_pillow(image).save(file, "PNG")
    return file.getvalue()


def save_gif(frames: Iterable[Tensor], path: str | os.PathLike, fps: int = 12) -> None:
    """Write frames `(C, H, W)` as an endlessly looping GIF: see `gif`."""
    atomic_write(path, gif(frames, fps))


def gif(frames: Iterable[Tensor], fps: int = 12) -> bytes:
    """Frames `(C, H, W)`, uint8 or in [-1, 1], as an endlessly looping GIF; raises ValueError without frames.

    GIF has 256 colors a frame and times in hundredths of a second; transparency is blended with white.
    """
    first, *others = [to_pillow(over_white(frame)) for frame in frames] or [None]
    if first is None:
        raise ValueError("a GIF needs at least one frame")
    file = BytesIO()
    duration = round(100 / fps) * 10
    first.save(file, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
    return file.getvalue()


def save_mp4(frames: Iterable[Tensor], path: str | os.PathLike, fps: int = 12) -> None:
    """Write frames `(C, H, W)` as a video: see `mp4`."""
    atomic_write(path, mp4(frames, fps))


def mp4(frames: Iterable[Tensor], fps: int = 12) -> bytes:
    """Frames `(C, H, W)`, uint8 or in [-1, 1], as a video (H.264 where there is an encoder, else MPEG-4).

    Sides become even, as the codecs ask, by a black line; transparency is blended with white. Raises ValueError without
    frames, and UserError without PyAV.
    """
    av = video_library()
    pictures = [to_pillow(over_white(frame)).convert("RGB") for frame in frames]
    if not pictures:
        raise ValueError("a video needs at least one frame")
    width, height = (side + side % 2 for side in pictures[0].size)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # what all players show
        stream.bit_rate = BITS_PER_PIXEL * width * height * fps
        for picture in pictures:
            even = picture.crop((0, 0, width, height))
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        container.mux(stream.encode())
    return file.getvalue()


def video_library() -> Any:
    """PyAV; UserError if it is missing."""
    try:
        import av
    except ImportError:
        raise missing_package("format=mp4", "av", "video", "format=gif") from None
    return av


SAVERS = {"gif": save_gif, "mp4": save_mp4}  # by the value of `format`


def save_moving(frames: Iterable[Tensor], path: Path, format: str = "gif") -> None:
    """Write frames `(C, H, W)`, uint8 or in [-1, 1], as `path` with the suffix of `format`, gif or mp4."""
    SAVERS[format](frames, path.with_suffix(f".{format}"))
