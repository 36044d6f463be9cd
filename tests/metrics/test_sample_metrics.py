"""Metrics of samples by numbers: references, closed forms, cases done by hand, and what they do at the edges."""

import hashlib
import json
import math

import pytest
import torch
import torch.nn.functional as F
from helpers.scoring import ClassifyingPixels, Pixels, sample_metrics
from helpers.tiny_models import tiny_vae
from torch import nn
from torchmetrics.functional.image import perceptual_path_length
from torchmetrics.image.inception import InceptionScore as TheirInceptionScore
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import evaluate
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.active_units import ActiveUnits
from lightning_gen.metrics.class_frechet import ClassFrechet, frechet_distance_of
from lightning_gen.metrics.classification_accuracy import canonical_order
from lightning_gen.metrics.diversity import Diversity
from lightning_gen.metrics.frechet import distance_with_trace, root_of, trace_of_root
from lightning_gen.metrics.inception_score import InceptionScore
from lightning_gen.metrics.lpips import LPIPS, NETWORKS
from lightning_gen.metrics.memorization import Memorization
from lightning_gen.metrics.mifid import MemorizationInformedFrechet
from lightning_gen.metrics.path_length import PathLength
from lightning_gen.randomness import generator, seed_all


def normal(*shape: int, key: str = "x") -> torch.Tensor:
    return torch.randn(*shape, generator=generator("test sample metrics", key))


def scores_of(metric, real=None, fake=None, training=None, labels=(None, None)) -> dict[str, float]:
    if training is not None:
        metric.update_training(training)
    for kind, features, given in ((True, real, labels[0]), (False, fake, labels[1])):
        arguments = {} if given is None else {"labels": given}
        metric.update(features, real=kind, **arguments)
    return {name: value.item() for name, value in metric.compute().items()}


# Inception Score


def inception_score(logits: torch.Tensor, **options) -> float:
    metric = InceptionScore(**options)
    for part in logits.split(300):
        metric.update(part)
    return metric.compute()["is"].item()


def test_inception_score_is_that_of_torch_fidelity_and_torchmetrics():
    fidelity = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 3 * normal(1003, 40)
    theirs = fidelity.isc_features_to_metric(logits, splits=10, shuffle=False)["inception_score_mean"]
    assert inception_score(logits, seed=None) == pytest.approx(theirs, rel=1e-9)
    other = TheirInceptionScore(feature=nn.Identity(), splits=1)
    other.update(logits)
    assert inception_score(logits, splits=1) == pytest.approx(other.compute()[0].item(), rel=1e-5)


def test_inception_score_of_sure_and_of_unsure_classifiers():
    classes = F.one_hot(torch.arange(700) % 7, 7).float()
    assert inception_score(classes * 1e4, splits=1) == pytest.approx(7)
    assert inception_score(classes * 0) == pytest.approx(1)
    assert inception_score(classes[:1].expand(5, -1) * 1e4) == pytest.approx(1)


def test_splits_of_the_inception_score_are_fewer_with_few_samples_and_not_of_one_class():
    by_class = F.one_hot(torch.arange(1000) // 100, 10).float() * 1e4
    assert inception_score(by_class, seed=None) == pytest.approx(1)
    assert inception_score(by_class) > 9
    metric = InceptionScore()
    metric.update(normal(350, 5))
    metric.compute()
    assert metric.protocol() == {"splits": 3, "seed": 0}
    assert metric.standard_errors()["is"] == pytest.approx(torch.tensor(metric.scores).std().item() / math.sqrt(3))


# Memorization


def test_mifid_is_that_of_torchmetrics_with_sides_as_the_paper_has_them(monkeypatch):
    monkeypatch.setattr("lightning_gen.metrics.mifid.BLOCK", 7)
    for spread in (0.02, 2.0):  # penalized, and not
        real = 3 + normal(40, 6, key="r")
        fake = real[:30] * 0.9 + spread * normal(30, 6, key="f")
        ours = scores_of(MemorizationInformedFrechet(), real, fake, training=real)["mifid"]
        theirs = MemorizationInformedFrechetInceptionDistance(feature=nn.Identity())
        # it takes the mean over `real` of the distance to the nearest of the others: the paper's generated images
        theirs.update(fake, real=True)
        theirs.update(real, real=False)
        assert ours == pytest.approx(theirs.compute().item(), rel=1e-4)


def test_copies_are_penalized_by_mifid_and_seen_by_memorization():
    real, training, novel = (normal(200, 5, key=key) for key in ("real", "training", "novel"))
    for name, metric in (("mifid", MemorizationInformedFrechet), ("memorization", Memorization)):
        copied, fresh = (scores_of(metric(), real, fake, training) for fake in (training[:150].clone(), novel))
        assert copied[name] > 10 * fresh[name]
    assert copied == {
        "memorization": 1,
        "training_distance": 0,
        "training_distance_real": fresh["training_distance_real"],
    }
    assert fresh["memorization"] == pytest.approx(0.05, abs=0.04)


@pytest.mark.parametrize("block", [2048, 2])
def test_memorization_by_hand(block, monkeypatch):
    monkeypatch.setattr("lightning_gen.metrics.neighbors.BLOCK", block)
    training = torch.tensor([[0.0], [10.0]])
    real = torch.tensor([[1.0], [12.0], [5.5]])
    fake = torch.tensor([[0.5], [9.0], [13.0], [30.0]])
    found = scores_of(Memorization(), real, fake, training)  # real: 1, 2, 4.5; 5 % of them is 1.1
    assert found == {"memorization": 0.5, "training_distance": 2.0, "training_distance_real": 2.0}
    # real images that are the training images count with their distance to the others
    assert scores_of(Memorization(), training, fake, training)["training_distance_real"] == 10


# Classes


def test_class_frechet_by_hand():
    # one dimension: (difference of means)^2 + (difference of deviations)^2
    real = torch.tensor([[0.0], [2.0], [10.0], [14.0], [5.0]])
    fake = torch.tensor([[11.0], [15.0], [1.0], [5.0], [5.0]])
    labels = (torch.tensor([0, 0, 1, 1, 3]), torch.tensor([1, 1, 0, 0, 2]))
    metric = ClassFrechet()
    first, second = 4 + (8**0.5 - 2**0.5) ** 2, 1
    assert scores_of(metric, real, fake, labels=labels)["class_frechet"] == pytest.approx((first + second) / 2)
    assert metric.curves()["class_frechet"] == pytest.approx([first, second, math.nan, math.nan], nan_ok=True)
    assert metric.protocol() == {"classes": 2, "fewest_images": 2, "classes_left_out": [2, 3]}


@pytest.mark.parametrize(("n", "m"), [(9, 5), (5, 200), (90, 80)])
def test_distance_of_few_images_is_that_of_their_gaussians(n, m):
    real, fake = (normal(count, 12, key=key).double() for count, key in ((n, "few"), (m, "others")))
    trace = trace_of_root(root_of(real.T.cov()), fake.T.cov())
    expected = distance_with_trace(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov(), trace)
    assert frechet_distance_of(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)


def test_diversity_is_the_mean_over_pairs():
    real, fake = normal(9, 4, key="r"), normal(12, 4, key="f")
    labels = torch.arange(9) % 4, torch.arange(12) % 2
    found = scores_of(Diversity(), real, fake, labels=labels)

    def naive(features):
        unit = F.normalize(features, dim=1)
        return torch.pdist(unit).square().mean().item()

    assert found["diversity"] == pytest.approx(naive(fake), rel=1e-5)
    assert found["diversity_real"] == pytest.approx(naive(real), rel=1e-5)
    assert found["diversity_within_class"] == pytest.approx((naive(fake[::2]) + naive(fake[1::2])) / 2, rel=1e-5)
    same = scores_of(Diversity(), real, fake[:1].expand(5, -1))
    assert same["diversity"] == pytest.approx(0, abs=1e-12)
    assert "diversity_within_class" not in same


# Path length


class Flat(Extractor):
    """The pixels of one channel."""

    name = "flat"
    num_features = 64

    def features(self, images):
        return images[:, 0].flatten(1).float()

    def protocol(self):
        return {"name": self.name}


class Linear(ImageGenerator):
    """Images that are linear in latents of length 1 around gray, so that features have almost one length."""

    def __init__(self):
        super().__init__((1, 8, 8), None, optimizer=torch.optim.Adam)
        self.averages = nn.ModuleDict()
        self.scale = 0.1

    def latent(self, n):
        return F.normalize(torch.randn(n, 64), dim=1)

    def decode(self, latent, labels=None):
        return self.scale * latent.view(-1, 1, 8, 8)


def path_length(metric, model, seed=0, processes=1) -> float:
    for rank in range(processes):
        metric.measure(model, Flat(), seed, rank, processes)
    return metric.compute()["path_length"].item()


def test_path_length_of_a_linear_generator_has_its_closed_form():
    # A latent goes by epsilon times the angle between the ends, 90 +- 1 / sqrt(62) on a sphere of 64 dimensions; the
    # image by `scale` of that; the feature, of length 8 before it is scaled to 1, by an eighth of what is across it.
    metric = PathLength(pairs=1500, batch_size=100)
    expected = 0.1**2 * ((math.pi / 2) ** 2 + 1 / 62) / 64 * (1 - 1 / 64)
    found = path_length(metric, Linear())
    assert found == pytest.approx(expected, rel=0.01)
    assert metric.standard_errors()["path_length"] < 0.01 * found
    again = PathLength(pairs=1500, batch_size=100)
    assert path_length(again, Linear(), processes=3) == found
    assert path_length(again, Linear(), seed=1) != found
    assert metric.protocol()["space"] == "z"


def test_path_length_is_that_of_torchmetrics():
    class Theirs(nn.Module):
        """Draws what the metric draws, and takes images to be 0...255."""

        def __init__(self):
            super().__init__()
            seed_all("path length", 0, 0)
            self.latents = [Linear().latent(101) for _ in range(2)]

        def sample(self, num_samples):
            return self.latents.pop(0)

        def forward(self, latents):
            return ((Linear().decode(latents) + 1) * 127.5).expand(-1, 3, -1, -1)

    class Distance(nn.Module):
        def forward(self, a, b):
            units = [F.normalize(Flat().unrounded(images).double(), dim=1) for images in (a, b)]
            return (units[0] - units[1]).square().sum(1)

    options = {"interpolation_method": "slerp_any", "epsilon": 1e-3, "resize": None, "batch_size": 101}
    theirs, *_ = perceptual_path_length(Theirs(), num_samples=101, sim_net=Distance(), **options)
    ours = path_length(PathLength(pairs=101, batch_size=101, place="end", epsilon=1e-3), Linear())
    assert ours == pytest.approx(theirs.item(), rel=1e-3)


# Classification accuracy


class Labeled(ImageGenerator):
    """Images as bright as their class says, or the other way round."""

    def __init__(self, backwards=False):
        super().__init__((1, 8, 8), 4, conditional=True, optimizer=torch.optim.Adam)
        self.averages = nn.ModuleDict()
        self.backwards = backwards

    def sample(self, n, labels=None):
        brightness = (3 - labels if self.backwards else labels) / 2 - 0.75
        return (brightness.view(-1, 1, 1, 1) + 0.1 * torch.randn(n, 1, 8, 8)).clamp(-1, 1)


def test_classification_accuracy_tells_right_labels_from_wrong_ones():
    _, data = tiny_vae("data.num_images=160")
    source = data.sources["test"]
    right = Labeled()
    source.images = ((right.sample(len(source), source.labels) + 1) * 127.5).round().to(torch.uint8)
    name = "classification_accuracy"
    quick = ("images=2000", "classifier.schedule.warmup_images=0", "classifier.optimizer.lr=0.02")
    metrics = {name: sample_metrics(*(f"metrics.{name}.{key}" for key in quick))[name]}
    options = {"num_samples": 200, "show_progress": False}
    result = evaluate(right, data, metrics, {}, **options)
    assert result.values == {"classification_accuracy": 1, "classification_recall": 1}
    assert result.curves["classification_recall"] == [1] * 4
    settings = json.loads(json.dumps(result.protocol.metrics[name]))
    assert (settings["n_real"], settings["images"]) == (40, 2000)
    assert settings["classifier"]["encoder"]["width"] == 4
    wrong = evaluate(Labeled(backwards=True), data, metrics, {}, **options).values
    assert max(wrong.values()) == 0


def test_samples_have_an_order_of_their_own():
    images = torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8, generator=generator("order"))
    labels = torch.arange(50) % 3
    other = torch.randperm(50, generator=generator("other order"))
    first, second = canonical_order(images, labels), canonical_order(images[other], labels[other])
    assert torch.equal(images[first], images[other][second])
    assert torch.equal(labels[first], labels[other][second])


# All of them


OF_FEATURES = ("is", "mifid", "diversity", "diversity_real", "memorization", "training_distance")
OF_FEATURES += ("training_distance_real", "path_length", "precision", "recall")
SCORES = {f"{name}/pixels" for name in OF_FEATURES} | {"active_units", "active_units_share"}
CLASSES = {"class_frechet/pixels", "diversity_within_class/pixels", "classification_accuracy", "classification_recall"}


@pytest.mark.parametrize(("conditional", "shape"), [(False, "[1,8,8]"), (True, "[3,8,12]")])
def test_few_images_gray_or_not_with_labels_or_without(conditional, shape):
    model, data = tiny_vae(f"model.conditional={str(conditional).lower()}", f"data.image_shape={shape}")
    result = evaluate(
        model, data, sample_metrics(), {"pixels": ClassifyingPixels()}, num_samples=5, num_real=5, half_samples=2
    )
    real = {"diversity_within_class_real/pixels"}
    assert set(result.values) == SCORES | real | (CLASSES if conditional else set())
    assert all(math.isfinite(value) for value in result.values.values())
    assert set(result.skipped) == (set() if conditional else {"class_frechet", "classification_accuracy"})
    assert all("knows no classes" in reason for reason in result.skipped.values())


def test_broken_samples_have_no_score():
    model, data = tiny_vae("model.conditional=true")
    decode = model.decode
    model.decode = lambda latent, labels=None: decode(latent, labels).index_fill(0, torch.tensor([0]), math.nan)
    result = evaluate(model, data, sample_metrics(), {"pixels": ClassifyingPixels()}, num_samples=20, seeds=2)
    broken = {name for name, value in result.values.items() if math.isnan(value)}
    assert broken | {"diversity_real/pixels", "active_units", "active_units_share"} == SCORES | CLASSES
    assert len(result.warnings) == len(broken)


def test_metrics_of_latents_or_classes_are_skipped_without_them():
    _, data = tiny_vae()
    skipped = evaluate(Labeled(), data, sample_metrics("metrics.path_length.space=w"), {"pixels": Pixels()}).skipped
    assert skipped["path_length"] == "Labeled has no latents that it decodes"
    assert skipped["inception_score/pixels"] == "pixels has no logits"
    assert skipped["active_units"] == "Labeled has no encode"
    model, _ = tiny_vae()
    assert PathLength(space="w").why_not(model, data) == "VAE has no w; give space=z"


def test_files_are_compared_within_their_folders():
    _, data = tiny_vae()
    _, unlabeled = tiny_vae("data.num_classes=null")
    chosen = ("class_frechet", "memorization", "path_length", "active_units")
    metrics = {name: metric for name, metric in sample_metrics().items() if name in chosen}
    same, other = (
        evaluate(None, data, metrics, {"pixels": Pixels()}, split="train", files=files) for files in (data, unlabeled)
    )
    assert same.scores["class_frechet/pixels"].value == pytest.approx(0, abs=1e-6)
    assert (same.scores["memorization/pixels"].value, same.scores["training_distance/pixels"].value) == (1, 0)
    assert same.scores["training_distance_real/pixels"].value > 0
    assert other.skipped.pop("class_frechet") == "the samples have no labels"
    assert other.skipped == same.skipped == dict.fromkeys(chosen[2:], "needs a model, and files were given")


def test_halves_of_the_samples_leave_settings_and_curves_as_they_were():
    _, data = tiny_vae()
    metrics = sample_metrics()
    options = {"num_samples": 24, "show_progress": False}
    plain, halved = (
        evaluate(Labeled(), data, {"class_frechet": metrics["class_frechet"]}, {"pixels": Pixels()}, **options, **more)
        for more in ({}, {"half_samples": 3})
    )
    assert halved.protocol.metrics == plain.protocol.metrics
    assert str(halved.curves) == str(plain.curves)  # NaN is no equal of itself
    assert set(halved.curves) == {"class_frechet/pixels"}


def test_active_units_by_hand():
    metric = ActiveUnits()
    for part in torch.tensor([[0.0, 1.0, 5.0], [0.05, 2.0, 5.0], [0.0, 3.0, 5.3]]).split(2):
        metric.update(part)
    assert metric.compute() == {"active_units": 2, "active_units_share": pytest.approx(2 / 3)}


# LPIPS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, in torchvision's layout."""
    from torchvision.models import squeezenet1_1

    path = tmp_path_factory.mktemp("weights") / "squeezenet1_1.pth"
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), path)
    return path


def test_lpips_is_that_of_torchmetrics(weights, monkeypatch):
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    state = torch.load(weights, weights_only=True)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *args, **kwargs: state)
    target = normal(5, 3, 32, 32).tanh()
    prediction = (target + 0.3 * normal(5, 3, 32, 32, key="noise")).clamp(-1, 1)
    expected = learned_perceptual_image_patch_similarity(prediction, target, net_type="squeeze", reduction="none")
    metric = LPIPS("squeeze", str(weights), sha256=hashlib.sha256(weights.read_bytes()).hexdigest()[:8])
    for part in (slice(0, 2), slice(2, 5)):
        metric.update(prediction[part], target[part])
    assert metric.compute()["reconstruction_lpips"].item() == pytest.approx(expected.mean().item(), rel=1e-5)
    error = metric.standard_errors()["reconstruction_lpips"]
    assert error == pytest.approx(expected.std().item() / math.sqrt(5), rel=1e-4)
    metric.reset()
    metric.update(target[:, :1, :17, :20], target[:, :1, :17, :20])  # the smallest there are
    assert metric.compute()["reconstruction_lpips"] == 0


def test_lpips_refuses_mistakes_before_sampling(weights, tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for arguments, message in (
        (("alex", None), r"metrics\.lpips\.weights=null: alexnet-owt-7be5be79\.pth could not be downloaded"),
        (("squeeze", str(tmp_path / "none.pth")), r"metrics\.lpips\.weights=.*no such file"),
        (("squeeze", str(weights)), r"metrics\.lpips\.sha256=b8a52dc0.*has the sha256"),
    ):
        with pytest.raises(UserError, match=message):
            LPIPS(*arguments)
    model, data = tiny_vae()
    metric = LPIPS.__new__(LPIPS)
    metric.net, metric.min_size = "alex", NETWORKS["alex"][1]
    assert metric.why_not(model, data) == "net=alex takes images from 31 pixels a side, not 8x8"
