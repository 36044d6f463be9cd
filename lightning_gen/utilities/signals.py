"""Signals that ask a command to end: one exception for all of them, and handlers that come and go."""

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Ctrl-C, a scheduler or a shutdown, a scheduler's warning, a closed terminal.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
# Seconds: Ctrl-C reaches a job from the terminal and from the process that started it, and is pressed but once.
AT_ONCE = 0.3

Handlers = dict[int, Callable | int | None]


class Stopped(BaseException):
    """A signal ends the command now. No Exception and no KeyboardInterrupt: nothing on the way takes it for another."""

    def __init__(self, number: int):
        super().__init__("interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


def take_over(handler: Callable[[int], None]) -> Handlers:
    """Have `handler(number)` called for the signals; the handlers before it. What is ignored stays so (nohup).

    In a thread nothing is done. A forked process ignores Ctrl-C, which the terminal sends to all, and ends by others.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    owner = os.getpid()
    last: dict[int, float] = {int(number): -AT_ONCE for number in ENDING}

    def handle(number: int, frame: object) -> None:
        before, last[number] = last[number], time.monotonic()
        if os.getpid() != owner:
            _end_fork(number)
        elif last[number] - before >= AT_ONCE:
            act(number)

    def act(number: int) -> None:
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        handler(number)

    ignored = {number for number in ENDING if signal.getsignal(number) is signal.SIG_IGN}
    return {number: signal.signal(number, handle) for number in ENDING if number not in ignored}


def give_back(handlers: Handlers) -> None:
    """Restore the handlers that `take_over` has returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Within it `handler(number)` is called for the signals."""
    before = take_over(handler)
    try:
        yield
    finally:
        give_back(before)


def stop(number: int) -> None:
    """Raise Stopped: the handler of a command that has nothing to save."""
    raise Stopped(number)


@contextmanager
def held_back() -> Iterator[None]:
    """Within it the signals wait; processes that are started in it hold them back until they let them through."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent(worker: int) -> None:
    """Have a data worker end by its parent alone, not by signals that a terminal or scheduler sends to all processes.

    The parent needs its workers for the last step, and ends them by SIGTERM.
    """
    for number in ENDING:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_by_parent, daemon=True).start()
    else:  # macOS
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_by_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _end_fork(number: int) -> None:
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _let_go_of_terminal() -> None:
    """Send output nowhere if it went to the terminal, which is closed: each line would raise an error."""
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
