"""Weights of extractors as files: found or downloaded, and hashed before anything reads them."""

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from lightning_gen.errors import UserError


def weights_file(path: str | None, url: str, key: str, name: str | None = None) -> Path:
    """The file at `path`; null: the one in torch.hub's cache, downloaded once from `url`. UserError names `key`.

    In the cache it is called `name`; None: as the url ends.
    """
    if path is not None:
        chosen = Path(path).expanduser()
        if not chosen.is_file():
            raise UserError(f"{key}={path}: no such file")
        return chosen
    cached = Path(torch.hub.get_dir(), "checkpoints", name or url.rpartition("/")[2])
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(cached), progress=False)  # written aside, then moved
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
    found = file_hash(path)
    if not start or not found.startswith(start.lower()):
        raise UserError(
            f"{key}={start}: {path} has the sha256 {found}; get the right file, or give {key}={found[:16]} if these "
            "weights are meant"
        )
    return found


def hash_of(state_dict: dict[str, Tensor]) -> str:
    """A sha256 of tensors, their names and their types, whatever order and file they come in."""
    found = hashlib.sha256()
    for name, tensor in sorted(state_dict.items()):
        values = tensor.detach().cpu().contiguous()
        found.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def read_state_dict(path: Path, key: str) -> dict[str, Tensor]:
    """The tensors in a file, read without running any code it may hold."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{key}={path}: not a file of tensors that PyTorch can read") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{key}={path}: holds something other than a state dict")
    return content
