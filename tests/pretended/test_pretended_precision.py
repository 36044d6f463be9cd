"""What a GPU would compute in 16 bits under bf16-mixed, and what `trainer.deterministic=true` would refuse there."""

import pytest
import torch

from lightning_gen.testing import FAKE, narrow
from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.on_device import Run
from lightning_gen.testing.pretended_autocast import autocast
from lightning_gen.testing.pretended_device import PretendedDevice

IMAGES = ["data.image_shape=[1,16,16]"]
SEQUENCES = ["data.image_shape=[4,1,16,16]", "data.num_classes=null"]


def step_of(context, name, *overrides):
    """What the second step does."""
    chosen = [f"model={name}", *FAKE, "data.batch_size=4", *overrides]
    with PretendedDevice() as device:
        run = Run(device, *chosen, *narrow(name, *overrides))
        return [run.step(context) for _ in range(2)][-1]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("frame_lstm", SEQUENCES),
        ("mocogan", SEQUENCES),
        ("svg_lp", SEQUENCES),
        ("vae", [*IMAGES, "model/prior=autoregressive"]),
        ("vrnn", IMAGES),
    ],
)
def test_nothing_runs_in_float16(name, overrides):
    written = step_of(autocast(), name, *overrides).bytes_written()
    assert written[torch.bfloat16]
    assert not written[torch.float16]


@pytest.mark.parametrize(
    ("name", "overrides", "refused"),
    [
        ("r3gan", ["data.image_shape=[1,16,16]"], []),
        ("vae", [*IMAGES, "model/likelihood=cross_entropy"], []),
        ("pixel_cnn", ["data.image_shape=[1,4,6]", "model/likelihood=cross_entropy"], []),
        ("dcgan", [*IMAGES, "model/augment=ada"], ["grid_sampler_2d_backward"]),
    ],
)
def test_what_deterministic_refuses(name, overrides, refused):
    found = step_of(None, name, *overrides).not_deterministic
    assert [line.split(".")[1] for line in found] == refused
