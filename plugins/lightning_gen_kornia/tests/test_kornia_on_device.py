"""kornia's augmentations on a GPU that is pretended: no mixed devices, and nothing is read from the device.

kornia draws on the CPU, and copies its draws to the device; on CUDA it does so without waiting.
"""

import pytest

from lightning_gen.testing.on_device import Run, check_augment_on_device
from lightning_gen.testing.pretended_device import PretendedDevice
from lightning_gen.testing.pretended_tensor import WHY_NOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

DRAWS = "copy of unpinned memory"


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_kornia")


@pytest.mark.parametrize("name", ["kornia_elastic", "kornia_perspective", "kornia_thin_plate", "kornia_motion_blur"])
def test_data_augment(name):
    check_augment_on_device(name, waits=[DRAWS])


def test_model_augment():
    chosen = ["model=dcgan", "model/augment=kornia", "model/penalty=[r1]", "model.generator.width=8"]
    data = ["data=fake", "data.num_images=16", "data.batch_size=4", "data.image_shape=[1,16,16]"]
    with PretendedDevice() as device:
        trace = Run(device, *chosen, *data).step()
    assert trace.waits
    assert all(line.startswith(DRAWS) for line in trace.waits)
