"""The server: on loopback unless told otherwise, with a new token at each start."""

import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn

from lightning_gen.errors import UserError
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.signals import Stopped
from lightning_gen.view.access import LOOPBACK, TOKEN
from lightning_gen.view.app import make_app

TRIED = 20  # ports after the default one
EVERYWHERE = ("0.0.0.0", "::", "")


def serve(
    folders: Sequence[Path],
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    names: Sequence[str] = (),
    device: str = "cpu",
    trust: Sequence[str] = (),
    first_port: int = 8765,
) -> None:
    """Serve until Ctrl-C; `names` are hosts beside `host` and loopback by which it may be reached.

    Without `port` it is the first free one from `first_port` on. UserError if it can't be listened on.
    """
    listening = _listen(host, port, first_port)
    number, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    known = [name for name in (*names, host) if name not in EVERYWHERE]
    app = make_app(folders, token, f"lightning_gen_view_{number}", known, device, trust)
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=1)
    with suppress(Stopped, KeyboardInterrupt):  # after which uvicorn may end as well as raise them
        _tell(folders, host, number, token)
        uvicorn.Server(config).run(sockets=[listening])
    print("view stopped")


def _tell(folders: Sequence[Path], host: str, number: int, token: str) -> None:
    shown = "127.0.0.1" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    print(f"runs in {printable(', '.join(map(str, folders)))}, until Ctrl-C:")
    print(f"http://{shown}:{number}/?{TOKEN}={token}", flush=True)
    if host not in (*LOOPBACK, "::1"):
        print(f"host={host}: other machines can reach it, and what is sent is not encrypted; docs/view.md has a tunnel")


def _listen(host: str, port: int | None, first: int) -> socket.socket:
    """A socket on `port`, or on the first free one from `first` on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = range(first, first + TRIED) if port is None else [port]
    problem = ""
    for number in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen()  # a browser that is quicker than the server waits
        except OSError as error:
            listening.close()
            problem = error.strerror or str(error)
        else:
            return listening
    where = f"host={host} port={port if port is not None else f'{first} to {first + TRIED - 1}'}"
    raise UserError(f"{where}: can't be listened on ({problem}); give another port, or host=127.0.0.1")
