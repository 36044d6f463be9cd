"""Handlers of signals that come and go."""

import signal

import pytest

from lightning_gen.utilities.signals import Stopped, handled, held_back, stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number):
    """As by `nohup`, and by a shell for what a script starts with `&`."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with handled(stop):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_a_signal_that_is_held_back_comes_after():
    reached = []

    def hold_back():
        with handled(stop), held_back():
            signal.raise_signal(signal.SIGTERM)
            reached.append(True)

    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        hold_back()
    assert reached
