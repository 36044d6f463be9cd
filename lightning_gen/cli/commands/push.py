"""Upload a run's model to the Hugging Face Hub, with a model card made from the run.

usage: lightning-gen push RUN repo=USER/NAME [dry_run=FOLDER] [license=NAME] [private=true] [trust=PACKAGE]

RUN is a run's folder, or a checkpoint. Its weights (safetensors), config, samples, scores and a card go to the
repository; anyone with lightning-gen then gives checkpoint=hf://USER/NAME to any command. It needs
pip install 'lightning-gen[hub]' and a token: hf auth login, or HF_TOKEN. Keys:
  repo=USER/NAME   the repository, which is made if there is none
  dry_run=FOLDER   write everything to a new folder, and upload nothing
  license=NAME     the license of the weights, such as apache-2.0 or cc-by-4.0
  private=true     make a private repository
  trust=PACKAGE    a package of own classes that the checkpoint may name
"""

import sys
import tempfile
from pathlib import Path

from lightning_gen.errors import UserError
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import did_you_mean

KEYS = ("repo", "dry_run", "license", "private", "trust")


def run(arguments: list[str]) -> int:
    """Upload, or write the folder of a dry run and print what is in it."""
    if not arguments:
        print(__doc__.strip())
        return 0
    checkpoint, keys = _parse(arguments)
    from lightning_gen.sharing.upload import check_access, check_repository, upload

    check_repository(keys["repo"])
    private = _private(keys.get("private"))
    if "dry_run" in keys:
        folder = _new_folder(keys["dry_run"])
        _write(checkpoint, keys, folder)
        print(f"dry run of hf://{keys['repo']}, nothing was uploaded:")
        _print_tree(folder)
        return 0
    check_access(keys["repo"])
    with tempfile.TemporaryDirectory() as folder:
        _write(checkpoint, keys, Path(folder))
        _print_tree(Path(folder), title=f"hf://{keys['repo']}")
        print(printable(f"uploaded: {upload(Path(folder), keys['repo'], private)}"))
    print(f"to sample it: lightning-gen sample checkpoint=hf://{keys['repo']}")
    return 0


def _parse(arguments: list[str]) -> tuple[str, dict[str, str]]:
    runs, keys = [], {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or Path(argument).exists():
            runs.append(argument)
        elif key in KEYS and value:
            keys[key] = value
        else:
            fix = did_you_mean(key, list(KEYS)) or f"; its keys are {', '.join(KEYS)}"
            raise UserError(f"{argument}: push has no such key{fix}" if key not in KEYS else f"{key}: give it a value")
    if len(runs) != 1:
        raise UserError(f"push takes one run, not {len(runs)}: lightning-gen push RUN repo=USER/NAME")
    if "repo" not in keys:
        raise UserError("repo: name the repository, as repo=USER/NAME")
    return runs[0], keys


def _private(value: str | None) -> bool | None:
    if value not in (None, "true", "false"):
        raise UserError(f"private={value}: give true or false")
    return None if value is None else value == "true"


def _new_folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"dry_run={folder}: exists and is not an empty folder, name another one")
    return folder


def _write(checkpoint: str, keys: dict[str, str], folder: Path) -> None:
    from lightning_gen.checkpoint import checkpoint_of
    from lightning_gen.cli.checkpoint_options import filled, run_folder
    from lightning_gen.config.saved import trusting
    from lightning_gen.sharing.folder import open_shared, write_safetensors

    license = keys.get("license")
    if license is None:
        print(
            "license: none, so that nobody else may use the model; give license=apache-2.0 or another", file=sys.stderr
        )
    path = checkpoint_of(checkpoint, key="RUN")
    with trusting(tuple(filter(None, keys.get("trust", "").strip("[]").split(",")))):
        shared = open_shared(path, run_folder(path))
        with filled(folder) as part:
            write_safetensors(shared, part, f"hf://{keys['repo']}", license=license)


def _print_tree(folder: Path, title: str | None = None) -> None:
    print(printable(title or str(folder)))
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(printable(f"  {file.relative_to(folder).as_posix():<24} {size_text(file.stat().st_size)}"))
