"""Ranks under `torchrun --max-restarts` meet anew at each start.

torchrun keeps one store over all of its restarts, in which ranks find the addresses of processes that have ended
(https://github.com/pytorch/pytorch/issues/167288). Here the first rank opens a store of its own at each start.
"""

import os
import socket
import uuid
from datetime import timedelta
from typing import Any

AGAIN = timedelta(seconds=1)  # after which a rank says again that it is there


def meet_anew() -> None:
    """Agree on a new port of the first rank, if torchrun may restart this process; all ranks call it.

    It replaces `MASTER_PORT`, where PyTorch and Lightning then find each other as without torchrun.
    """
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    if restarts in ("", "0") or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    from torch.distributed import TCPStore

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store: Any = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), size, is_master=False)
    os.environ["MASTER_PORT"] = _welcome(store, size) if rank == 0 else _greet(store, rank)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"


def _welcome(store: Any, size: int) -> str:
    """Give each of the other ranks that are there now a free port, which is returned."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = str(probe.getsockname()[1])
    for rank in range(1, size):
        store.delete_key(f"lightning_gen/{rank}")  # of an earlier start
    for rank in range(1, size):
        store.set(f"lightning_gen/{store.get(f'lightning_gen/{rank}').decode()}", port)
    return port


def _greet(store: Any, rank: int) -> str:
    """The port of the first rank, which may start later than this one."""
    name = uuid.uuid4().hex
    while True:
        store.set(f"lightning_gen/{rank}", name)
        try:
            store.wait([f"lightning_gen/{name}"], AGAIN)
        except RuntimeError:  # not yet
            continue
        return store.get(f"lightning_gen/{name}").decode()
