"""torch-fidelity's scores on a GPU that is pretended: no mixed devices, and the values of the CPU."""

import pytest
import torch

from lightning_gen.config import build_data, build_model, compose
from lightning_gen.evaluation.evaluator import build_metrics, evaluate
from lightning_gen.testing.pretended_device import PretendedDevice
from lightning_gen.testing.pretended_tensor import WHY_NOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

KEYS = ("extractor=efficientnet_lite0", "measures=[isc,kid,prc]", "isc_splits=1", "kid_subsets=2", "neighbors=1")


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_fidelity")


def values(device):
    metrics = ["checkpoint=x", "metrics=[torch_fidelity]", *(f"metrics.torch_fidelity.{key}" for key in KEYS)]
    chosen = compose(["model=mlp_vae", "model.latent_dim=3", "data=fake", "data.image_shape=[1,12,12]"])
    data = build_data(chosen.data)
    torch.manual_seed(0)
    model = build_model(chosen.model, data.image_shape, data.num_classes).to(device)
    made = build_metrics(compose(metrics, "evaluate").metrics)
    few = {"num_samples": 6, "num_real": 6, "batch_size": 4}
    return evaluate(model, data, made, {}, device=device, show_progress=False, **few).values


def test_scores():
    expected = values("cpu")
    with PretendedDevice() as device:
        found = values(device.device)
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(found) == 4
