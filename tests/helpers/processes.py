"""Functions in processes of their own, forked from one that has imported what takes seconds."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["lightning_gen.evaluation", "lightning_gen.training"])


def on_two_ranks(function: Callable[[int, Path, int], None], folder: Path) -> None:
    """`function(rank, folder, 2)` in two processes at once."""
    torch.multiprocessing.start_processes(function, (folder, 2), nprocs=2, start_method="forkserver")


def printed_by(function: Callable[..., Any], *arguments: Any, folder: Path) -> tuple[int | None, str, str]:
    """Exit status, stdout and stderr, which pass through files in `folder`."""
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    process = CONTEXT.Process(target=_redirected, args=(out, err, function, *arguments))
    process.start()
    process.join(120)
    return process.exitcode, out.read_text(), err.read_text()


def _redirected(out: Path, err: Path, function: Callable[..., Any], *arguments: Any) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    raise SystemExit(function(*arguments))
