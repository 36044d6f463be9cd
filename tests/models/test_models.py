"""Every option of the groups that make a model does what the contract says, on every kind of data."""

import pytest

from lightning_gen.listing import list_options
from lightning_gen.testing import DATA, check_model, model_class

SMALL = [f"model.{side}.{key}=8" for side in ("encoder", "decoder") for key in ("width", "hidden")]


def names(group: str) -> list[str]:
    return [option.name for option in list_options(group)]


IMAGES = [kind for kind in DATA if "sequence" not in kind]
SEQUENCES = {"conditional": "sequence", "non_square": "non_square_sequence"}
FEW_PIXELS = {"conditional": ["data.image_shape=[1,12,12]"], "non_square": ["data.image_shape=[3,8,14]"]}


# Between them grey and colour, square and not; images with and without labels.
@pytest.mark.parametrize("data", ["conditional", "non_square"])
@pytest.mark.parametrize("name", names("model"))
def test_model(name: str, data: str):
    one_by_one = name.startswith("pixel_")
    check_model(name, *FEW_PIXELS[data] * one_by_one, data=data if model_class(name).takes_images else SEQUENCES[data])


@pytest.mark.parametrize("data", IMAGES)
@pytest.mark.parametrize("name", ["vae", "dcgan"])
def test_data(name: str, data: str):
    check_model(name, data=data)


@pytest.mark.parametrize("name", names("model/likelihood"))
def test_likelihood(name: str):
    check_model("vae", f"model/likelihood={name}", *SMALL, data="non_square")


@pytest.mark.parametrize("name", names("optimizer"))
def test_optimizer(name: str):
    # A rate that no optimizer diverges at in four steps.
    check_model("vae", f"optimizer@model.optimizer={name}", "model.optimizer.lr=1e-4", *SMALL, data="grey")


@pytest.mark.parametrize("name", names("schedule"))
def test_schedule(name: str):
    check_model("vae", f"schedule@model.schedule={name}", "model.schedule.warmup_images=16", *SMALL, data="grey")


@pytest.mark.parametrize(("kind", "normalization"), [("conv", "batch"), ("resnet", "instance")])
def test_network(kind: str, normalization: str):
    chosen = [f"network@model.{side}coder={kind}_{side}coder" for side in ("en", "de")]
    check_model("vae", *chosen, f"model.encoder.normalization={normalization}", "model.encoder.depth=2", data="rgb")


def test_accumulation_and_clipping_and_calls_of_several_steps():
    check_model("vae", "model.accumulate=2", "model.gradient_clip=1.0", "trainer.steps_per_call=2", *SMALL)


@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_data(workers: int):
    check_model("vae", "data.in_memory=false", f"data.num_workers={workers}", "data/augment=[flip]", *SMALL)
