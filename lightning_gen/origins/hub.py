"""Checkpoints on the Hugging Face Hub: `hf://user/name[@revision]` is what `lightning-gen push` has uploaded.

Two files are downloaded to the cache of huggingface_hub, weights as safetensors and a config: nothing in them is code.
`HF_HUB_OFFLINE=1` reads the cache alone, `HF_TOKEN` and `hf auth login` give access to private repositories.
"""

import logging
import re
from pathlib import Path
from typing import Any

from lightning_gen.errors import UserError, missing_package
from lightning_gen.origins.local_files import CONFIG, WEIGHTS

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_CACHED = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


def huggingface_hub() -> Any:
    """The package; UserError if it is missing."""
    try:
        import huggingface_hub
    except ImportError:
        raise missing_package("the Hugging Face Hub", "huggingface_hub", "hub") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # failures are told as errors, each in a line
    return huggingface_hub


def download(typed: str, key: str) -> Path:
    """The folder in the cache that holds weights and config of a repository; UserError if there are none."""
    match = _ADDRESS.fullmatch(typed)
    if match is None:
        raise UserError(f"{key}={typed}: no address of a model; write hf://user/name, or hf://user/name@revision")
    repo, revision = match["repo"], match["revision"]
    config = _file(repo, CONFIG, revision, f"{key}={typed}")
    _file(repo, WEIGHTS, config.parent.name, f"{key}={typed}")  # of the same commit, which names the folder
    return config.parent


def _file(repo: str, name: str, revision: str | None, origin: str) -> Path:
    package = huggingface_hub()
    try:
        return Path(package.hf_hub_download(repo, name, revision=revision))
    except Exception as error:  # of several kinds, also of the HTTP library below
        raise UserError(f"{origin}: {explained(error, name)}") from error


def explained(error: Exception, name: str = "") -> str:
    """What an error of the Hub means, and the fix, in a line."""
    from huggingface_hub import errors

    cases: list[tuple[type[Exception], str]] = [
        (errors.GatedRepoError, "is gated: ask for access on its page, then run hf auth login"),
        (errors.RepositoryNotFoundError, "no such repository, or a private one; to log in: hf auth login"),
        (errors.RevisionNotFoundError, "no such revision; leave out @revision for the newest"),
        (errors.LocalEntryNotFoundError, "is not in the cache, and the Hub can't be reached"),
        (errors.RemoteEntryNotFoundError, f"has no {name}; only what lightning-gen push has uploaded can be opened"),
        (errors.LocalTokenNotFoundError, "no token; run hf auth login, or set HF_TOKEN"),
        (errors.HFValidationError, "no name of a repository; write user/name"),
    ]
    for kind, text in cases:
        if isinstance(error, kind):
            return text
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "the token has no access; run hf auth login with one that may write, or set HF_TOKEN"
    return " ".join(str(error).split())[:300] or type(error).__name__


def name_of(path: Path) -> str | None:
    """`owner--name` of a file in the cache of huggingface_hub; None for other files."""
    folder = path.absolute().parent
    match = _CACHED.fullmatch(folder.parents[1].name) if len(folder.parents) > 1 else None
    return f"{match['owner']}--{match['name']}" if match and folder.parent.name == "snapshots" else None
