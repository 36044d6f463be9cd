"""Checkpoints of training: archives of torch.save with tensors and plain data, read without running code in them."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY


def read_archive(path: Path, origin: str) -> dict[str, Any]:
    """The content of a file of torch.save; UserError, which names `origin`, if it is damaged or holds code."""
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(
                f"{origin}: refused, it holds more than tensors and plain data (no code was run); "
                "use a checkpoint written by lightning-gen"
            ) from error
        raise UserError(
            f"{origin}: not a checkpoint, or one cut short or damaged; use another, such as best.ckpt beside it"
        ) from error
    if not isinstance(content, dict) or KEY not in content:
        raise UserError(f"{origin}: not written by lightning-gen (no config in it)")
    return content


def check_archive(path: Path) -> None:
    """Raise zipfile.BadZipFile unless `path` is an archive as torch.save writes it: no bytes differ, none are packed.

    PyTorch reads bare pickles too, unpacks what is compressed (a few MB to any size), and checks no checksum.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise zipfile.BadZipFile("not an archive")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > path.stat().st_size:
            raise zipfile.BadZipFile("compressed")
        if archive.testzip() is not None:
            raise zipfile.BadZipFile("damaged")
