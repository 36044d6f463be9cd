"""Metrics that see real images and samples themselves, and metrics that bring their extractor."""

import pytest
import torch
from helpers.scoring import Given, Pixels

from lightning_gen.config import build_data
from lightning_gen.config.composition import compose
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate, score_names
from lightning_gen.metrics.image_metric import FeatureMetric, RealAndSampleMetric


class Counts(RealAndSampleMetric):
    """Numbers of images, and the sum of the labels of real ones."""

    better = {"real": "higher", "samples": "higher", "labels": "higher"}

    def __init__(self):
        super().__init__()
        for state in ("real_count", "count", "real_labels"):
            self.add_state(state, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, images, labels, real):
        if real:
            self.real_count += len(images)
            self.real_labels += labels.sum()
        else:
            assert labels is None
            self.count += len(images)

    def compute(self):
        return {"real": self.real_count, "samples": self.count, "labels": self.real_labels}


class Width(FeatureMetric):
    """The number of features that it is given."""

    better = {"width": "higher"}
    width = 0

    def __init__(self, own=None):
        super().__init__()
        if own is not None:
            self.own_extractor = own

    def update(self, features, real):
        self.width = features.shape[1]

    def compute(self):
        return {"width": self.width}


class Gray(Pixels):
    name = "gray"
    num_features = 1

    def features(self, images):
        return super().features(images).mean(1, keepdim=True)

    def protocol(self):
        return {"settings": 7}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def data():
    return build_data(compose("data=fake data.image_shape=[1,8,8] data.num_images=40").data)


def test_real_images_are_kept_from_seed_to_seed(data):
    model = Given(torch.rand(3, 1, 8, 8))
    evaluation = evaluate(model, data, {"counts": Counts()}, {}, batch_size=4, num_samples=7, seeds=3)
    labels = data.sources["test"].labels.sum().item()
    assert evaluation.values == {"real": 10, "samples": 7, "labels": labels}
    assert evaluation.scores["real"].per_seed == [10, 10, 10]
    assert evaluation.scores["real"].origin.of_samples
    assert evaluation.protocol.n_fake == 7


def test_an_own_extractor_is_used_alone(data):
    model, own, chosen = Given(torch.rand(3, 1, 8, 8)), Gray(), Pixels()
    metrics = {"own": Width(own), "other": Width()}
    evaluation = evaluate(model, data, metrics, {"pixels": chosen}, half_samples=2)
    assert evaluation.values == {"width/gray": 1, "width/pixels": 4}
    assert score_names(model, data, metrics, {"pixels": chosen}) == ["width/gray", "width/pixels"]
    assert evaluation.scores["width/gray"].origin.extractor == "metrics.own"
    assert evaluation.protocol.extractors["metrics.own"] == {"name": "gray", "settings": 7}
    assert own.seen == 20  # itself, not a copy: real images and samples


def test_no_extractor_need_be_chosen_for_one_that_brings_its_own(data):
    assert build_extractors({"pixels": {"_target_": "helpers.scoring.Pixels"}}, {"own": Width(Gray())}) == {}
    evaluation = evaluate(Given(torch.rand(3, 1, 8, 8)), data, {"own": Width(Gray()), "other": Width()}, {})
    assert evaluation.values == {"width/gray": 1}
    assert evaluation.skipped == {"other": "needs an extractor, and there is none (extractor=none)"}


def test_an_own_extractor_is_checked():
    from lightning_gen.errors import UserError

    target = {"_target_": f"{__name__}.Width", "own": {"_target_": f"{__name__}.Width"}}
    with pytest.raises(UserError, match=r"^metrics.own.own_extractor: Width is no Extractor"):
        build_metrics({"own": target})
