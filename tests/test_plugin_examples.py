"""The plugins of docs/plugin_examples.md work as they stand there, and are short."""

import importlib
import re
import sys

import pytest
import torch
from helpers import ROOT

from lightning_gen.config import build_model
from lightning_gen.config.composition import compose
from lightning_gen.testing import check_data, check_metric, check_model

# Each file with its text.
FILES = dict(
    re.findall(r"^`(my_[\w./]+)`:\n\n```\w+\n(.*?)```", (ROOT / "docs/plugin_examples.md").read_text(), re.M | re.S)
)
PACKAGES = sorted({name.partition("/")[0] for name in FILES})


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", ",".join(PACKAGES))
    for package in PACKAGES:
        monkeypatch.delitem(sys.modules, package, raising=False)


def test_they_are_short():
    assert len(PACKAGES) == 5
    assert not [name for name, text in FILES.items() if sum(map(bool, text.splitlines())) > 30]


def test_model():
    check_model("beta_tc_vae", "network@model.encoder=mlp_encoder", "network@model.decoder=mlp_decoder", data="gray")


def test_the_weights_of_a_batch_sum_to_one():
    model = build_model(compose("model=beta_tc_vae").model, (1, 8, 8), None)
    model.num_training_images = 50
    torch.testing.assert_close(model.log_weights(8).exp().sum(1), torch.ones(8))
    torch.testing.assert_close(model.log_weights(8).exp().diag(), torch.full((8,), 1 / 50))


def test_loss():
    check_model("gan", "model/loss=dual_contrastive", data="gray")


def test_data():
    check_data("stripes", "data.num_images=64")


def test_metrics_and_extractor():
    check_metric("spectrum,kid,color_distance", "extractor=[colors]")


def test_the_spectrum_of_other_images():
    metric = importlib.import_module("my_spectrum").Spectrum()
    metric.start(build(), "test")
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    metric.update(images, None, real=True)
    metric.update(images, None, real=False)
    assert metric.compute()["spectrum_db"] == 0
    metric.reset_fake()
    metric.update(images / 10**0.5, None, real=False)  # a tenth of the power
    assert metric.compute()["spectrum_db"].item() == pytest.approx(10, abs=0.01)


def build():
    from lightning_gen.config import build_data

    return build_data(compose("data=fake data.image_shape=[1,8,8]").data)
