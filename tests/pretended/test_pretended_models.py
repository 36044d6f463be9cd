"""On a GPU every model would train and do all it can: no mixed devices, and no waits within steps.

The device is pretended, so this says nothing of CUDA's kernels themselves.
"""

from functools import cache

import pytest
import torch
from helpers.tiny_models import UNTRAINED_CODES
from helpers.vae_parts import SUITING, triple

from lightning_gen.config.options import list_options
from lightning_gen.testing import FAKE, model_class, narrow
from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.on_device import Run, check_augment_on_device, check_model_on_device, check_steps
from lightning_gen.testing.pretended_autocast import autocast
from lightning_gen.testing.pretended_device import PretendedDevice

EXTRA = {"code_prior": UNTRAINED_CODES}
COLOR = ("rgb_vae", "biggan", "sagan", "r3gan")


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
    check_model_on_device(name, *small(name), *EXTRA.get(name, []))


def run_of(device, name, *overrides):
    chosen = [f"model={name}", *FAKE, "data.batch_size=4", *small(name), *overrides]
    return Run(device, *chosen, *narrow(name, *overrides))


# What the models above have not by default, each with one model.
PENALTIES = {
    "path_length": ["stylegan2", "model.penalty.r1=null"],
    "none": ["wgan_gp", "model/penalty=none"],
}
PARTS = [
    *(PENALTIES.get(name, ["dcgan", f"model/penalty=[{name}]"]) for name in names("model/penalty")),
    *(["dcgan", f"model/augment={name}"] for name in names("model/augment") if name != "none"),
    ["dcgan", "model/augment=ada", "+schedule@model.augment.schedule=cosine", "model.augment.initial=0.5"],
    *(["vae", f"model/likelihood={name}"] for name in names("model/likelihood") if "by_data" not in name),
    *(["dcgan", f"model/loss={name}"] for name in names("model/loss") if name != "non_saturating"),
    *(["dcgan", "model.conditional=true", f"model/conditioning={name}"] for name in ("projection", "concatenation")),
    *(["vae", f"optimizer@model.optimizer={name}"] for name in names("optimizer") if name != "adam"),
    ["vae", "model.beta_warmup_images=1000", "model.gradient_clip=1.0", "model.accumulate=2", "model.conditional=true"],
    ["dcgan", "model.accumulate=2", "model.gradient_clip=1.0"],
    *(["frame_lstm", f"model/cells={name}"] for name in ("gru", "rnn")),
    ["classifier", "model.loss=mse"],
    *(["vqvae", f"model/quantizer={name}"] for name in names("model/quantizer") if name != "ema_codebook"),
    ["vae", "network@model.encoder=resnet_encoder", "network@model.decoder=resnet_decoder"],
    *(pytest.param(["vae", *triple(parts)], marks=pytest.mark.slow) for parts in SUITING if parts[0] != "perceptual"),
]


@pytest.mark.parametrize("chosen", PARTS, ids=" ".join)
def test_part(chosen):
    with PretendedDevice() as device:
        check_steps(run_of(device, *chosen))


@pytest.mark.parametrize("name", [name for name in names("data/augment") if name != "none"])
def test_data_augment(name):
    check_augment_on_device(name)


def test_projection_of_a_model_with_a_learned_prior():
    check_model_on_device("vae", "model/prior=autoregressive", *small("vae"))


def test_penalty_of_a_model_with_a_recurrent_layer():
    check_model_on_device("mocogan", "model/penalty=[path_length]", *small("mocogan"))


def share_of_16_bit_maps(name, *overrides):
    """Of the bytes of feature maps that a step without penalties writes."""
    with PretendedDevice() as device:
        run = run_of(device, name, *overrides)
        for penalty in run.model.penalties.values():
            penalty.every = 1000
        [_, trace] = [run.step(autocast()) for _ in range(2)]
    written = trace.bytes_written(lambda shape: len(shape) == 4 and shape[0] % 4 == 0 and shape[2:].numel() >= 64)
    return written[torch.bfloat16] / written.total()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("dcgan", 0.8),
        ("stylegan2", 0.95),
        ("r3gan", 0.95),
        ("sngan", 0.8),
    ],
)
def test_feature_maps_stay_in_16_bits(name, least):
    assert share_of_16_bit_maps(name) > least
