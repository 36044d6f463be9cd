"""Upload of a folder to the Hugging Face Hub, https://huggingface.co/docs/huggingface_hub."""

import re
from pathlib import Path

from lightning_gen.errors import UserError
from lightning_gen.origins.hub import explained, huggingface_hub
from lightning_gen.origins.weights import WEIGHTS

_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def check_repository(repo: str) -> None:
    """UserError unless `repo` is a name such as `user/name`."""
    if not _REPOSITORY.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UserError(f"repo={repo}: no name of a repository; write repo=user/name")


def check_access(repo: str) -> None:
    """UserError without a token, or if the repository holds something else than a model of lightning-gen."""
    hub = huggingface_hub()
    try:
        if hub.constants.HF_HUB_OFFLINE:
            raise UserError(f"repo={repo}: HF_HUB_OFFLINE is set; unset it, or give dry_run=FOLDER")
        if not hub.get_token():
            raise UserError(f"repo={repo}: no token; run hf auth login, or set HF_TOKEN, or give dry_run=FOLDER")
        api = hub.HfApi()
        files = set(api.list_repo_files(repo)) - {".gitattributes"} if api.repo_exists(repo) else set()
    except UserError:
        raise
    except Exception as error:  # of several kinds, also of the HTTP library below
        raise UserError(f"repo={repo}: {explained(error)}") from error
    if files and WEIGHTS not in files:
        raise UserError(f"repo={repo}: holds {sorted(files)[0]} and no {WEIGHTS}; name a new repository")


def upload(folder: Path, repo: str, private: bool | None = None) -> str:
    """Upload a folder as one commit to the repository, which is made if there is none; the commit's address."""
    hub = huggingface_hub()
    try:
        api = hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload with lightning-gen")
    except Exception as error:
        raise UserError(f"repo={repo}: {explained(error)}") from error
    return str(commit.commit_url)
