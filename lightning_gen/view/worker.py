"""One thread for all that models compute: seeds, precision and memory are then those of one computation at a time."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
MOST_WAITING = 8  # jobs; more are refused


class Busy(Exception):
    """More jobs wait than are accepted."""


class Worker:
    """Runs jobs one after another; a job whose caller has gone before its turn is left out."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[tuple[Future, Callable[[], Any]]] = queue.Queue(MOST_WAITING)
        # A daemon: Ctrl-C does not wait for the end of a long job.
        threading.Thread(target=self._work, daemon=True, name="models").start()

    async def run(self, job: Callable[[], T]) -> T:
        """What `job` returns or raises; Busy if too many wait."""
        future: Future[T] = Future()
        try:
            self._jobs.put_nowait((future, job))
        except queue.Full:
            raise Busy from None
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while True:
            future, job = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
