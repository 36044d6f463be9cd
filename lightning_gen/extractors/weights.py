"""Weight files of extractors: found or downloaded, and hashed before they are read."""

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from lightning_gen.errors import UserError


def weights_file(path: str | None, url: str, key: str, name: str | None = None) -> Path:
    """The file at `path`; None: the file `name` in torch.hub's cache, downloaded once from `url`.

    `name=None` is the last part of `url`. UserError for `key` if there is no such file.
    """
    if path is not None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(f"{key}={path}: no such file")
        return file
    cached = Path(torch.hub.get_dir(), "checkpoints", name or url.rpartition("/")[2])
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(cached), progress=False)  # atomic: written to a temporary file
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"{key}=null: {cached.name} could not be downloaded ({reason}); get it from {url} and put it at "
                f"{cached}, or give its path with {key}=FILE"
            ) from None
    return cached


def file_hash(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, start: str, key: str) -> str:
    """The sha256 of a file; UserError unless it begins with `start`: other weights give other scores."""
    actual = file_hash(path)
    if not start or not actual.startswith(start.lower()):
        raise UserError(
            f"{key}={start}: {path} has the sha256 {actual}; get the right file, or give {key}={actual[:16]} if these "
            "weights are meant"
        )
    return actual


def hash_of(state_dict: dict[str, Tensor]) -> str:
    """The sha256 of tensors, their names and types, independent of their order and file format."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state_dict.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state_dict(path: Path, key: str) -> dict[str, Tensor]:
    """The tensors in a file, read without running code from it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{key}={path}: not a file of tensors that PyTorch can read") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{key}={path}: holds something other than a state dict")
    return content
