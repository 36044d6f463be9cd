"""Both models and both networks keep lightning-gen's contract, on images and sequences."""

import pytest
from small_flows import build

from lightning_gen import list_options
from lightning_gen.capabilities import Encodes, HasLatent, HasLikelihood, Reconstructs
from lightning_gen.config import compose
from lightning_gen.testing import check_model

SLOW = pytest.mark.slow
QUICK = ["model.steps=3"]
DIT = ["network@model.network=flow_dit", "model.network.depth=2"]


@pytest.mark.parametrize(
    ("name", "data", "overrides"),
    [
        ("flow_matching", "gray", ["model/noise_level=uniform", "model.solver=euler"]),
        ("flow_matching", "rgb", DIT),
        ("flow_matching", "conditional", ["model.guidance=2.0", *DIT]),
        pytest.param("flow_matching", "sequence", [], marks=SLOW),
        pytest.param("edm", "non_square", ["model.network.patch=2", "model.network.dropout=0.1"], marks=SLOW),
        pytest.param("edm", "conditional", ["model.guidance=2.0"], marks=SLOW),
        ("edm", "non_square_sequence", DIT),
    ],
)
@pytest.mark.slow
def test_model(name, data, overrides):
    check_model(name, *QUICK, *overrides, data=data)


@pytest.mark.parametrize("name", ["flow_matching", "edm"])
def test_capabilities(name):
    model = build(name)
    assert all(isinstance(model, ability) for ability in (HasLatent, HasLikelihood, Encodes))
    assert not isinstance(model, Reconstructs)  # it would give back every image


@pytest.mark.parametrize("name", ["digits/flow_matching", "digits/edm", "cifar10/flow_matching"])
def test_experiments_compose(name):
    assert compose([f"experiment={name}"]).model._target_.startswith("lightning_gen_flow.")


def test_options_are_listed():
    for group, wanted in {"model": {"flow_matching", "edm"}, "network": {"flow_unet", "flow_dit"}}.items():
        ours = {option.name for option in list_options(group) if "flow" in option.source}
        assert wanted <= ours
