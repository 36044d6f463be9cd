"""Scores with Inception agree with torch-fidelity's and torchmetrics', which use the same weights."""

import hashlib
from urllib.error import URLError

import pytest
import torch
from helpers import random_weights

from lightning_gen.errors import UserError
from lightning_gen.extractors.inception import PUBLISHED, Inception
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.metrics.precision_recall import PrecisionRecall
from lightning_gen.randomness import generator

pytest.importorskip("torch_fidelity")


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    return path, hashlib.sha256(random_weights.inception(path).read_bytes()).hexdigest()


def images(key):
    """Smooth noise, so that images differ in what a network sees."""
    coarse = torch.rand(4, 3, 4, 4, generator=generator("images", key))
    fine = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    return (fine * 255).to(torch.uint8)


@pytest.mark.slow
def test_features_and_logits_are_those_of_torch_fidelity(weights):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path, sha256 = weights
    reference = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    features, logits = reference(images("real"))
    extractor = Inception(str(path), sha256, "tf")
    found = extractor(images("real"))
    torch.testing.assert_close(found, features, rtol=1e-4, atol=1e-4 * features.std().item())
    torch.testing.assert_close(extractor.logits(found), logits, rtol=1e-4, atol=1e-4 * logits.std().item())


@pytest.mark.slow
def test_features_are_those_of_torchmetrics_with_its_resize(weights):
    from torchmetrics.image.fid import NoTrainInceptionV3

    path, sha256 = weights
    features = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path))(images("real"))
    extractor = Inception(str(path), sha256, "torchmetrics")
    torch.testing.assert_close(extractor(images("real")), features, rtol=1e-4, atol=1e-4 * features.std().item())
    assert extractor.name == "inception_torchmetrics"


def test_scores_are_those_that_torch_fidelity_makes_of_the_same_features():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = (torch.randn(300, 32, generator=generator("features", key)) for key in ("real", "fake"))
    fake = fake * 1.1 + 0.2
    found = {}
    for metric in (FrechetDistance(), KernelDistance(subset_size=300), PrecisionRecall()):
        metric.update_real(Features(real, None, None))
        metric.update_fake(Features(fake, None, None))
        found |= {name: value.item() for name, value in metric.compute().items()}
    statistics = (fid_features_to_statistics(features) for features in (fake, real))
    fid = fid_statistics_to_metric(*statistics, verbose=False)
    kid = kid_features_to_metric(fake, real, kid_subsets=1, kid_subset_size=300, verbose=False)
    prc = prc_features_to_metric(fake, real, verbose=False)
    expected = {
        "frechet": fid["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "precision": prc["precision"],
        "recall": prc["recall"],
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_only_the_published_weights_and_resize_are_called_fid(weights):
    path, sha256 = weights
    extractor = Inception(str(path), sha256, "tf")
    assert extractor.score_name("frechet") == "frechet/inception"
    extractor.sha256 = PUBLISHED + extractor.sha256[8:]
    assert (extractor.score_name("frechet"), extractor.score_name("kid")) == ("fid", "kid/inception")
    extractor.resize = "clean"
    assert extractor.score_name("frechet") != "fid"


def test_wrong_missing_or_unreachable_weights_are_one_line(weights, tmp_path, monkeypatch):
    path, _ = weights
    with pytest.raises(UserError, match=r"extractor\.inception\.sha256=6726825d.*has the sha256"):
        Inception(str(path), PUBLISHED, "tf")
    with pytest.raises(UserError, match=r"extractor\.inception\.weights=.*no such file"):
        Inception(str(tmp_path / "none.pth"), PUBLISHED, "tf")

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UserError, match=r"no network.*put it at .*extractor\.inception\.weights=FILE"):
        Inception(None, PUBLISHED, "tf")
