"""A cache of real images' features on disk, shared by all runs and processes.

The name of a file is a hash of the images' bytes and of the extractor's protocol, so it is never out of date. It ends
with a checksum: damaged features, which would be wrong scores, are extracted again.
"""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.cache import cache_dir
from lightning_gen.data.loader import EvaluationBatches
from lightning_gen.extractors.extractor import protocol_of
from lightning_gen.images import to_uint8
from lightning_gen.utilities.atomic_files import atomic_write

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.extractors.extractor import Extractor

log = logging.getLogger("lightning_gen")

CHECKSUM_BYTES = 16


def fingerprint(data: "ImageData", split: str, n: int, batch_size: int) -> tuple[str, Tensor | None]:
    """The hash of the first `n` images of a split as 8-bit values, in the order of evaluations, and their labels."""
    digest = hashlib.blake2b(repr((n, tuple(data.image_shape))).encode(), digest_size=16)
    labels = []
    for batch in EvaluationBatches(data.sources[split], batch_size=batch_size, limit=n, binarize=data.binarize):
        digest.update(to_uint8(batch.images).contiguous().numpy().data)
        if batch.labels is not None:
            labels.append(batch.labels)
    return digest.hexdigest(), torch.cat(labels) if labels else None


def path_of(images: str, extractor: "Extractor", n: int, batch_size: int, image_shape: tuple[int, ...]) -> Path:
    """The file for the features of `n` images of a shape with the fingerprint `images`."""
    # Rounding errors of features depend on the batch size and the kind of device.
    device = next((tensor.device.type for tensor in extractor.parameters()), "cpu")
    protocol = protocol_of(extractor, image_shape)
    content = {"images": images, "extractor": protocol, "batch_size": batch_size, "device": device}
    if device == "cuda":  # older files hold features of TensorFloat-32 convolutions
        content["precision"] = "IEEE float32"
    key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return cache_dir() / "features" / f"{extractor.name.replace('/', '_')}-{n}-{key}.npy"


def read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The features `(N, d)` in a file, mapped into memory; None if there is no such file or it is damaged."""
    try:
        values = np.load(path, mmap_mode="c", allow_pickle=False)
        with path.open("rb") as file:
            file.seek(-CHECKSUM_BYTES, os.SEEK_END)
            intact = file.read() == _checksum(values)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(values) if intact and values.shape == shape and values.dtype == np.float32 else None


def write(path: Path, values: Tensor) -> None:
    """Save features; a full or read-only disk is only logged, since the features can be extracted again."""
    array = np.ascontiguousarray(values.cpu().numpy())

    def save(file: IO[bytes]) -> None:
        np.save(file, array, allow_pickle=False)
        file.write(_checksum(array))

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, save)
    except OSError as error:
        log.warning("features of real images are not cached in %s: %s", path.parent, error.strerror)


def _checksum(values: np.ndarray) -> bytes:
    return hashlib.blake2b(values.data, digest_size=CHECKSUM_BYTES).digest()
