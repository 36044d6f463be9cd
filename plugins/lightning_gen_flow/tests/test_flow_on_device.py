"""Both models and both networks on a GPU that is pretended: no mixed devices, no waits within steps."""

import pytest

from lightning_gen.testing.on_device import check_model_on_device
from lightning_gen.testing.pretended_tensor import WHY_NOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

SMALL = ["data.image_shape=[1,8,8]", "model.steps=2", "model.likelihood_steps=2"]
DIT = ["network@model.network=flow_dit", "model.network.depth=1"]
CONDITIONAL = ["model.conditional=true", "model.guidance=2.0"]


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_flow")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("flow_matching", CONDITIONAL),
        ("flow_matching", [*DIT, "model/noise_level=uniform", "model.solver=euler"]),
        ("edm", ["model.network.dropout=0.1"]),
        ("edm", [*DIT, *CONDITIONAL]),
    ],
)
def test_model(name, overrides):
    check_model_on_device(name, *SMALL, *overrides)
