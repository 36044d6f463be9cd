"""The pretended device, for tests that skip themselves where torch can't register it."""

import pytest


@pytest.fixture
def gpu():
    from lightning_gen.testing.pretended_device import PretendedDevice

    with PretendedDevice() as device:
        yield device
