"""Every option of the groups that make a model does what the contract says, on every kind of data."""

from functools import cache
from itertools import zip_longest

import pytest
from helpers.tiny_models import UNTRAINED_CODES
from helpers.vae_parts import SUITING, TRIPLES, triple

from lightning_gen.config.options import list_options
from lightning_gen.testing import DATA, check_model, model_class

NARROW = [f"model.{side}.{key}=8" for side in ("encoder", "decoder") for key in ("width", "hidden")]
# Of the options that share a class one is trained on both kinds of data: what differs between them is networks,
# losses and penalties, which have tests of their own. These are trained on one kind, and left out by "not slow".
CONDITIONAL = ("biggan", "cgan_pd", "conditional_vae", "sagan")
OTHERS = ("beta_vae", "dragan", "frame_lstm", "gan", "lsgan", "mlp_vae", "r3gan", "rgb_vae", "sngan", "wgan", "wgan_gp")
PIXELS = ("pixel_cnn", "pixel_min_gru", "pixel_min_lstm", "pixel_rnn_diagonal")
REFUSING = ("vqgan", "vqvae", "vqvae2")  # to be conditional
LEFT_OUT = {
    **dict.fromkeys(CONDITIONAL, "non_square"),
    **dict.fromkeys((*OTHERS, *PIXELS, *REFUSING), "conditional"),
}
EXTRA = {"code_prior": UNTRAINED_CODES, "vqvae2": ["model.stride=2"]}
IMAGES = [kind for kind in DATA if "sequence" not in kind]
SEQUENCES = {"conditional": "sequence", "non_square": "non_square_sequence"}
FEW_PIXELS = {"conditional": ["data.image_shape=[1,12,12]"], "non_square": ["data.image_shape=[3,8,14]"]}


def names(group: str) -> list[str]:
    return [option.name for option in list_options(group)]


@cache
def takes_images(name: str) -> bool:
    return model_class(name).takes_images


# Between them gray and color, square and not; images with and without labels.
@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param(name, data, marks=[pytest.mark.slow] * (name in LEFT_OUT or data == "conditional"))
        for name in names("model")
        for data in SEQUENCES
        if LEFT_OUT.get(name) != data
    ],
)
@pytest.mark.slow
def test_model(name: str, data: str):
    one_by_one = name.startswith("pixel_")
    few = FEW_PIXELS[data] if one_by_one else []
    check_model(name, *few, *EXTRA.get(name, []), data=data if takes_images(name) else SEQUENCES[data])


@pytest.mark.parametrize("data", [kind for kind in IMAGES if kind not in SEQUENCES])
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_data(name: str, data: str):
    check_model(name, data=data)


PARTS = {
    "model/likelihood": names("model/likelihood"),
    "optimizer@model.optimizer": names("optimizer"),
    "schedule@model.schedule": names("schedule"),
}


@pytest.mark.parametrize("group", TRIPLES)
def test_each_part_of_a_vae_is_tried(group: str):
    assert {row[TRIPLES[group]] for row in SUITING} == set(names(group))


# Each option of a group with one of the other groups.
@pytest.mark.parametrize(
    "chosen",
    [
        [f"{key}={name}" for key, name in zip(PARTS, row, strict=True) if name] + triple(suiting)
        for *row, suiting in zip_longest(*PARTS.values(), SUITING)
    ],
    ids=" ".join,
)
def test_parts_of_a_vae(chosen: list[str]):
    # A rate that no optimizer diverges at in four steps.
    check_model(
        "vae", *chosen, "model.optimizer.lr=1e-4", "model.schedule.warmup_images=16", *NARROW, data="non_square"
    )


@pytest.mark.parametrize(("kind", "normalization"), [("conv", "batch"), ("resnet", "instance")])
def test_network(kind: str, normalization: str):
    chosen = [f"network@model.{side}coder={kind}_{side}coder" for side in ("en", "de")]
    check_model("vae", *chosen, f"model.encoder.normalization={normalization}", "model.encoder.depth=2", data="rgb")


def test_accumulation_and_clipping_and_calls_of_several_steps():
    check_model("vae", "model.accumulate=2", "model.gradient_clip=1.0", "trainer.steps_per_call=2", *NARROW)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_data(workers: int):
    check_model("vae", "data.in_memory=false", f"data.num_workers={workers}", "data/augment=[flip]", *NARROW)
