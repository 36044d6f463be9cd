"""The classifier, what it says of samples, and stacked digits; numbers by hand."""

import hashlib
import json
import math

import pytest
import torch
from helpers.configs import composed
from helpers.scoring import Given
from helpers.tiny_models import TINY_VAE, write_checkpoint
from omegaconf import OmegaConf

from lightning_gen.batch import Batch
from lightning_gen.checkpoint import provenance
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.data.mnist5k import MNIST5k
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import evaluate
from lightning_gen.image_generator import KEY
from lightning_gen.metrics.accuracy import Accuracy
from lightning_gen.metrics.class_scores import ClassScores
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.likelihood import LikelihoodMetric

TINY_CLASSIFIER = ["model=classifier", "model.encoder.width=4", "model.encoder.hidden=8", "data=fake"]


class Brightness(torch.nn.Module):
    """Logits of three classes: dark, gray, bright."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return -20 * (mean[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()


def classifier(path, channels=1):
    data = f"data.image_shape=[{channels},8,8]"
    config = composed(*TINY_CLASSIFIER, data, "data.num_classes=3")
    model = build_model(config.model, (channels, 8, 8), 3)
    ours = provenance(OmegaConf.to_container(config, resolve=True), build_data(config.data))
    torch.save({"state_dict": model.state_dict(), KEY: ours | {"images_seen": 0}}, path)
    metric = ClassScores(str(path))
    metric.classifier.encoder = Brightness()
    return metric


def shades(*values) -> torch.Tensor:
    """Images with one value a channel."""
    return torch.tensor(values).view(len(values), -1, 1, 1).expand(-1, -1, 8, 8).float()


def fake(channels: int, classes: int | str):
    shape = f"data.image_shape=[{channels},8,8]"
    return build_data(composed("data=fake", shape, f"data.num_classes={classes}", "data.num_images=400").data)


# The classifier


def test_losses_are_cross_entropy_and_accuracy():
    config = composed(*TINY_CLASSIFIER, "model.label_smoothing=0.3")
    model = build_model(config.model, (1, 8, 8), 3)
    model.encoder = Brightness()
    terms = model.losses(Batch(shades(-1, 0, 1, 1), torch.tensor([0, 1, 2, 0])))
    assert terms["accuracy"].item() == 0.75
    logits = torch.tensor([[0, -20.0, -40], [-20, 0, -20], [-40, -20, 0], [-40, -20, 0]])
    target = 0.7 * torch.eye(3)[[0, 1, 2, 0]] + 0.1
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    probabilities = model.classify(shades(-1, 0.5))
    assert probabilities.sum(1).tolist() == pytest.approx([1, 1])
    assert probabilities[1].tolist() == pytest.approx([0, 0.5, 0.5], abs=1e-4)


def test_classifier_needs_labels_and_makes_no_images():
    for overrides, classes in (([], None), (["model.conditional=false"], 3)):
        with pytest.raises(UserError, match="labels"):
            build_model(composed(*TINY_CLASSIFIER, *overrides).model, (1, 8, 8), classes)
    data = fake(1, 3)
    model = build_model(composed(*TINY_CLASSIFIER).model, (1, 8, 8), 3)
    with pytest.raises(UserError, match="makes no images"):
        model.sample(2)
    metrics = {"frechet": FrechetDistance(), "likelihood": LikelihoodMetric(), "accuracy": Accuracy()}
    result = evaluate(model, data, metrics, None)
    assert set(result.values) == {"accuracy", "mean_recall"}
    assert result.skipped["frechet"] == "Classifier makes no images"
    assert result.protocol.n_fake == 0


def test_accuracy_by_hand():
    metric = Accuracy()
    metric.start(fake(1, 4), "test")
    predicted = torch.tensor([0, 0, 1, 1, 2])
    for part in (slice(0, 3), slice(3, 5)):
        metric.update(torch.eye(4)[predicted[part]], torch.tensor([0, 0, 0, 1, 1])[part])
    scores = metric.compute()
    assert scores["accuracy"].item() == pytest.approx(3 / 5)
    assert scores["mean_recall"].item() == pytest.approx((2 / 3 + 1 / 2) / 2)  # nobody is of class 2 or 3
    assert scores.keys() == metric.better.keys()


# What it sees in samples


def test_class_scores_by_hand(tmp_path):
    metric, data = classifier(tmp_path / "best.ckpt"), fake(1, 3)
    shares = data.sources["train"].labels.bincount().double() / 400
    images = shades(-1, -1, 1, 1)
    result = evaluate(Given(images), data, {"classes": metric}, None, num_samples=8)
    kl = (0.5 * (0.5 / shares[[0, 2]]).log()).sum().item()
    assert result.values == {"modes": 2, "modes_kl": pytest.approx(kl)}
    sha256 = hashlib.sha256((tmp_path / "best.ckpt").read_bytes()).hexdigest()
    assert result.protocol.metrics["classes"] == {"classifier_sha256": sha256, "modes_there_are": 3}
    json.dumps(result.to_json())

    metric.start(data, "test")
    metric.update(images, torch.tensor([0, 1, 2, 2]))
    broken = shades(-1, math.nan)
    metric.update(broken, torch.tensor([0, 0]))
    scores = metric.compute()
    assert scores["class_accuracy"].item() == pytest.approx(4 / 6)
    assert scores.keys() == metric.better.keys()
    assert evaluate(Given(images, 3), data, {"classes": metric}, None).values.keys() == metric.better.keys()


def test_channels_are_the_digits_of_a_class(tmp_path):
    metric, data = classifier(tmp_path / "best.ckpt"), fake(3, 27)
    metric.start(data, "test")
    metric.update(shades([-1, 0, 1], [1, 1, 0], [1, 1, 0]), torch.tensor([5, 25, 0]))
    assert metric.seen.nonzero().flatten().tolist() == [5, 25]
    scores = metric.compute()
    assert scores["modes"] == 2
    assert scores["class_accuracy"].item() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("channels", "classes", "reason"), [(3, 5, "27 classes"), (1, 4, "3 classes"), (1, "null", "3 classes")]
)
def test_other_classes_are_skipped(tmp_path, channels, classes, reason):
    data = fake(channels, classes)
    model = Given(torch.zeros(1, channels, 8, 8))
    metric = classifier(tmp_path / "best.ckpt")
    assert reason in evaluate(model, data, {"classes": metric}, None).skipped["classes"]


def test_other_images_are_skipped(tmp_path):
    metric = classifier(tmp_path / "best.ckpt", channels=3)
    skipped = evaluate(Given(torch.zeros(1, 1, 8, 8)), fake(1, 3), {"classes": metric}, None).skipped
    assert "(3, 8, 8)" in skipped["classes"]


def test_a_wrong_classifier_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.classes\.classifier=.*no such file"):
        ClassScores(str(tmp_path / "nowhere"))
    write_checkpoint(tmp_path / "vae.ckpt", *TINY_VAE)
    with pytest.raises(UserError, match="holds a VAE"):
        ClassScores(str(tmp_path / "vae.ckpt"))


# Stacked digits


def stacked(*overrides: str):
    return build_data(composed("data=stacked_mnist", "data.num_images=3000", "data.num_test=700", *overrides).data)


def test_stacked_digits_are_the_digits_of_their_class():
    data = stacked()
    assert (data.image_shape, data.num_classes) == ((3, 28, 28), 1000)
    assert data.split_sizes == {"train": 3000, "val": 5000, "test": 700}
    assert data.class_names[42] == "042"
    single = MNIST5k.load(data)  # the same split
    for split, source in data.sources.items():
        digits = single[split]
        members = source.images.members
        assert int(members.max()) < len(digits)
        a, b, c = digits.labels[members].unbind(1)
        assert torch.equal(source.labels, 100 * a + 10 * b + c)
        index = torch.tensor([5, 0, 5])
        expected = torch.stack([digits.images[members[index, channel], 0] for channel in range(3)], 1)
        assert torch.equal(source.images.index_select(0, index), expected)
        assert torch.equal(source.images[5], expected[0])
    assert data.sources["train"].images.nbytes < 4e6  # of 7 MB stacked
    counts = data.sources["train"].labels.bincount(minlength=1000)
    assert (counts > 0).sum() > 930  # 3,000 draws of 1,000 miss 5 %


def test_stacked_digits_depend_on_the_seed_alone():
    first, same, other = stacked(), stacked("data.num_test=20"), stacked("data.seed=1")
    assert torch.equal(first.sources["train"].labels, same.sources["train"].labels)
    assert not torch.equal(first.sources["train"].labels, other.sources["train"].labels)


def test_stacked_digits_train_augmented_and_streamed_in_one_order():
    batches = []
    for memory in ("null", "false"):
        data = stacked("data.batch_size=50", f"data.in_memory={memory}", "data.num_workers=0")
        (batch,) = next(iter(data.train_dataloader()))
        batches.append(batch)
    assert batches[0].images.shape == (50, 3, 28, 28)
    assert all(torch.equal(*pair) for pair in zip(*batches, strict=True))
    assert len({int(label) for label in batches[0].labels}) > 40
