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
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from lightning_gen.batch import Batch
from lightning_gen.checkpoint import provenance
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.data.mnist5k import MNIST5k
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import check_evaluation, evaluate
from lightning_gen.evaluation.report import save_and_print
from lightning_gen.evaluation.result import Evaluation
from lightning_gen.image_generator import KEY
from lightning_gen.images import to_uint8
from lightning_gen.metrics.accuracy import Accuracy
from lightning_gen.metrics.class_pictures import RIGHT, WRONG, confusion_picture, mistakes_picture
from lightning_gen.metrics.class_scores import ClassScores
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.likelihood import LikelihoodMetric
from lightning_gen.metrics.precision_recall import PrecisionRecall

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


def test_losses_are_those_of_the_formulas():
    config = composed(*TINY_CLASSIFIER, "model.label_smoothing=0.3")
    model = build_model(config.model, (1, 8, 8), 3)
    model.encoder = Brightness()
    terms = model.losses(Batch(shades(-1, 0, 1, 1), torch.tensor([0, 1, 2, 0])))
    assert terms["accuracy"].item() == 0.75
    logits = torch.tensor([[0, -20.0, -40], [-20, 0, -20], [-40, -20, 0], [-40, -20, 0]])
    target = 0.7 * torch.eye(3)[[0, 1, 2, 0]] + 0.1
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    squared = build_model(composed(*TINY_CLASSIFIER, "model.label_smoothing=0.3", "model.loss=mse").model, (1, 8, 8), 3)
    squared.encoder = Brightness()
    found = squared.losses(Batch(shades(-1, 0, 1, 1), torch.tensor([0, 1, 2, 0])))["loss"].item()
    assert found == pytest.approx((logits.softmax(1) - target).square().sum(1).mean().item(), rel=1e-5)
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
    assert set(result.values) == set(Accuracy.better)
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
    assert metric.standard_errors() == {"accuracy": pytest.approx((3 / 5 * 2 / 5 / 5) ** 0.5)}
    # nobody is of class 2 or 3
    assert scores["mean_recall"].item() == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores["mean_precision"].item() == pytest.approx((1 + 1 / 2) / 2)
    assert scores["mean_f1"].item() == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert scores.keys() == metric.better.keys()
    tables = metric.tables()
    assert tables["classes"]["images"] == [3, 2, 0, 0]
    assert tables["classes"]["precision"] == [1, 0.5, 0, 0]
    assert str(tables["classes"]["recall"][2:]) == "[nan, nan]"
    assert list(tables["confusion_matrix"]) == ["true \\ predicted", *tables["classes"]["class"]]
    assert list(tables["confusion_matrix"].values())[1:] == [[2, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_scores_of_classes_are_those_of_torchmetrics():
    torch.manual_seed(0)
    labels = torch.cat([torch.arange(6), torch.randint(6, (200,))])
    probabilities = (torch.randn(206, 6) + 2 * torch.eye(6)[labels]).softmax(1)
    probabilities[:, 5] = 0  # a class that is never predicted
    metric, other = Accuracy(), Accuracy()
    for part, half in ((metric, slice(0, 90)), (other, slice(90, 206))):
        part.start(fake(1, 6), "test")
        part.update(probabilities[half], labels[half])
    metric.confusion += other.confusion
    scores, tables = metric.compute(), metric.tables()
    for name, reference in (
        ("precision", MulticlassPrecision),
        ("recall", MulticlassRecall),
        ("f1", MulticlassF1Score),
    ):
        assert tables["classes"][name] == pytest.approx(reference(6, average=None)(probabilities, labels).tolist())
        assert scores[f"mean_{name}"].item() == pytest.approx(reference(6)(probabilities, labels).item())
    matrix = MulticlassConfusionMatrix(6)(probabilities, labels).T.tolist()
    assert list(tables["confusion_matrix"].values())[1:] == matrix
    assert scores["accuracy"].item() == pytest.approx((probabilities.argmax(1) == labels).double().mean().item())


def test_mistakes_of_the_highest_probability_are_shown():
    metric = Accuracy()
    metric.start(fake(1, 3), "test")
    values = torch.linspace(-1, 1, 200)
    for part in values.split(50):
        probabilities = torch.stack([0.5 + part / 4, 0.5 - part / 4, 0 * part], 1)  # of class 0 from 100 on
        metric.update(probabilities, torch.ones(50, dtype=torch.int64), part.view(-1, 1, 1, 1).expand(-1, 1, 8, 8))
    metric.compute()
    images, true, predicted, probability = metric.mistakes
    assert torch.equal(images[:, 0, 0, 0], to_uint8(values.flip(0)[:64]))
    assert {*true.tolist()} == {1}
    assert {*predicted.tolist()} == {0}
    torch.testing.assert_close(probability, 0.5 + values.flip(0)[:64] / 4)
    assert metric.pictures()["wrongly_classified"]().amax() == 255


def test_pictures_have_what_they_say():
    images = torch.arange(6 * 3 * 8 * 8).remainder(256).to(torch.uint8).view(6, 3, 8, 8)
    picture = mistakes_picture(images, ["a"] * 6, ["b (0.99)"] * 6)
    enlarged = images[0].repeat_interleave(12, 1).repeat_interleave(12, 2)  # 96 pixels a side
    assert picture[:, 6:40].amax() == 255  # the caption
    assert any(torch.equal(picture[:, top : top + 96, 6:102], enlarged) for top in range(80))

    names = ["cat", "a" * 90, "dog"]
    colors = {
        tuple(color) for color in confusion_picture([[5, 0, 0], [1, 4, 0], [0, 0, 0]], names).flatten(1).T.tolist()
    }
    assert RIGHT in colors  # all of a class are right
    assert WRONG not in colors
    assert confusion_picture([[0] * 60] * 60, list(map(str, range(60)))).shape[1] > 360


def test_evaluation_keeps_tables_and_pictures(tmp_path, capsys):
    data = fake(1, 3)
    model = build_model(composed(*TINY_CLASSIFIER).model, (1, 8, 8), 3)
    for _ in range(2):
        save_and_print(evaluate(model, data, {"accuracy": Accuracy()}, {}, show_progress=False), tmp_path / "e.json")
    printed = capsys.readouterr().out
    for text in (
        "accuracy ",
        "images  precision  recall     f1",
        "true \\ predicted",
        "wrongly_classified-2.png",
    ):
        assert text in printed
    first, second = json.loads((tmp_path / "e.json").read_text())
    assert first["tables"] == second["tables"]
    assert sum(first["tables"]["classes"]["images"]) == first["protocol"]["n_real"]
    assert "sqrt" in first["protocol"]["standard_errors"]
    assert Evaluation.from_json(first).tables == first["tables"]
    files = {*first["pictures"].values(), *second["pictures"].values()}
    assert files == {path.name for path in tmp_path.glob("*.png")}
    assert len(files) == 4


def test_precision_and_recall_of_samples_point_to_those_of_classes():
    model = build_model(composed(*TINY_CLASSIFIER).model, (1, 8, 8), 3)
    lines = check_evaluation(model, fake(1, 3), {"precision_recall": PrecisionRecall()}, {})
    assert len(lines) == 1
    assert "metrics=[accuracy] gives the precision and recall of a classifier" in lines[0]


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
