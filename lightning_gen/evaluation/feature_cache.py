"""Features of real images on disk: what was extracted once is never extracted again, by any run or process.

The name of a file is a hash of the images' bytes and of the extractor's protocol, so it can't be out of date.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.cache import cache_dir
from lightning_gen.data.loader import EvaluationBatches
from lightning_gen.images import to_uint8
from lightning_gen.utilities.atomic_files import atomic_write

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.extractors.extractor import Extractor

log = logging.getLogger("lightning_gen")


def fingerprint(data: "ImageData", split: str, n: int, batch_size: int) -> tuple[str, Tensor | None]:
    """The hash of the first `n` images of a split as 8-bit values, in the order of evaluations, and their labels."""
    found = hashlib.blake2b(repr((n, tuple(data.image_shape))).encode(), digest_size=16)
    labels = []
    for batch in EvaluationBatches(data.sources[split], batch_size=batch_size, limit=n, binarize=data.binarize):
        found.update(to_uint8(batch.images).contiguous().numpy())
        labels.append(batch.labels)
    return found.hexdigest(), None if labels[0] is None else torch.cat(labels)


def path_of(images: str, extractor: "Extractor", n: int, batch_size: int) -> Path:
    """Where the features of the images with this fingerprint are kept."""
    # Features differ by rounding with the size of batches and the kind of device.
    device = next((tensor.device.type for tensor in extractor.parameters()), "cpu")
    key = {"images": images, "extractor": extractor.protocol(), "batch_size": batch_size, "device": device}
    key = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=12).hexdigest()
    return cache_dir() / "features" / f"{extractor.name.replace('/', '_')}-{n}-{key}.npy"


def read(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The features in a file, mapped into memory; None if there is no such file or it is damaged."""
    try:
        values = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(values) if values.shape == shape and values.dtype == np.float32 else None


def write(path: Path, values: Tensor) -> None:
    """Keep features; a full or read-only disk costs the next evaluation its time, and is no error in this one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda file: np.save(file, values.cpu().numpy(), allow_pickle=False))
    except OSError as error:
        log.warning("features of real images are not kept in %s: %s", path.parent, error.strerror)
