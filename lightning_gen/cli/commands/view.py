"""Look at runs in the browser: compare them, and play with their models.

usage: lightning-gen view [FOLDER ...] [key=value ...]

FOLDER is searched for run folders; by default outputs/. The address that is printed opens the table of runs: sort and
filter it, look at a run while it trains, put runs side by side, and let a checkpoint draw (latent sliders,
interpolation, classes, completions, predictions). Nothing in the folders is changed. Keys:
  port=N         the port; by default the first free one from 8765 on
  host=ADDRESS   the address to listen on; by default 127.0.0.1, which no other machine can reach
  name=HOST,...  names of this machine by which a browser may reach it, where they are not loopback
  device=NAME    where models compute: cpu (default), auto, cuda, ...
  trust=A,B      packages of own classes that checkpoints may name, as for sample

It needs the extra app: pip install 'lightning-gen[app]'. docs/view.md says how to use it on another machine.
"""

from importlib.util import find_spec
from pathlib import Path

from lightning_gen.errors import UserError, missing_package
from lightning_gen.runs.record import ELSEWHERE
from lightning_gen.utilities.suggestions import did_you_mean

KEYS = ("port", "host", "name", "device", "trust")


def run(arguments: list[str]) -> int:
    """Serve until Ctrl-C; UserError for a folder that is missing, or without the packages of the extra `app`."""
    folders, keys = _parse(arguments)
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise missing_package("view", package, "app")
    from lightning_gen.view.server import serve

    serve(
        folders,
        host=keys.get("host", "127.0.0.1"),
        port=_port(keys["port"]) if "port" in keys else None,
        names=_listed(keys.get("name", "")),
        device=keys.get("device", "cpu"),
        trust=_listed(keys.get("trust", "")),
    )
    return 0


def _parse(arguments: list[str]) -> tuple[list[Path], dict[str, str]]:
    folders, keys = [], {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or Path(argument).exists():
            folders.append(_folder(argument))
        elif key in KEYS and value:
            keys[key] = value
        else:
            fix = did_you_mean(key, KEYS) or f"; its keys are {', '.join(KEYS)}, each with a value"
            raise UserError(f"{argument}: view has no such key{fix}")
    return folders or [_folder("outputs")], keys


def _folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UserError(f"view {text}: no such folder; {ELSEWHERE.format('view')}")
    return folder


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 2**16):
        raise UserError(f"port={text}: give a number from 0 to 65535; 0 is any free one")
    return int(text)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.strip("[]").split(",") if name.strip()]
