"""On a GPU every model would train and do all it can: no mixed devices, and no waits within steps.

The device is pretended, so this says nothing of CUDA's kernels themselves.
"""

from functools import cache

import pytest
import torch

from lightning_gen.config.options import list_options
from lightning_gen.testing import FAKE, model_class, narrow
from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.on_device import Run, check_model_on_device, check_steps
from lightning_gen.testing.pretended_autocast import autocast
from lightning_gen.testing.pretended_device import PretendedDevice

COLOR = ("rgb_vae", "biggan", "sagan", "r3gan")
# What changes from step to step while it is a number of Python: empty once all of them are tensors.
BAKED = ("_foreach_lerp_", "_fused_adam_", "aten.lt.Scalar", "models/gan.py", "the backward pass")
SLOW_FAULT = "cuDNN has no backward of an LSTM in evaluation mode"


def names(group: str) -> list[str]:
    return [option.name for option in list_options(group) if option.source.startswith("core ")]


@cache
def small(name: str) -> list[str]:
    """The smallest data that a model takes."""
    if not model_class(name).takes_images:
        return ["data.image_shape=[4,1,16,16]", "data.num_classes=null"]
    side = "[1,4,6]" if name.startswith("pixel_") else "[3,32,32]" if name in COLOR else "[1,16,16]"
    return [f"data.image_shape={side}"]


@pytest.mark.parametrize("name", names("model"))
def test_model(name):
    check_model_on_device(name, *small(name), baked=BAKED)


def run_of(device, name, *overrides):
    chosen = [f"model={name}", *FAKE, "data.batch_size=4", *small(name), *overrides]
    return Run(device, *chosen, *narrow(name, *overrides))
