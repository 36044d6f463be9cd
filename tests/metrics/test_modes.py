"""Metrics that count modes, by hand, and the data they are for."""

import json
import math

import pytest
import torch
from helpers.configs import composed
from helpers.processes import on_two_ranks
from helpers.scoring import Given

from lightning_gen.config.instantiation import build_data
from lightning_gen.evaluation.evaluator import evaluate
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.density_coverage import DensityCoverage
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.modes import GaussianModes, kl_of_counts
from lightning_gen.metrics.neighbors import radii
from lightning_gen.metrics.precision_recall import PrecisionRecall
from lightning_gen.randomness import generator


def gaussians(*overrides: str):
    return build_data(composed("data=gaussians", "data.num_images=1000", *overrides).data)


def normal(*shape: int, key: str) -> torch.Tensor:
    return torch.randn(*shape, generator=generator("test modes", key))


class Nothing(Extractor):
    name = "nothing"
    num_features = 2

    def protocol(self):
        return {"name": self.name}


# Data


@pytest.mark.parametrize(("layout", "modes", "reach", "std"), [("ring", 8, 2.0, 0.02), ("grid", 25, 4.0, 0.05)])
def test_points_lie_around_their_centers(layout, modes, reach, std):
    data = gaussians(f"data.layout={layout}", "data.num_images=20000")
    assert (data.image_shape, data.num_classes, data.centers.shape) == ((1, 1, 2), modes, (modes, 2))
    assert data.std / data.centers.abs().max().item() == pytest.approx(std / reach, rel=1e-6)
    source = data.sources["train"]
    points = source.images.view(-1, 2)
    assert points.dtype == torch.float32
    assert points.abs().max() < 1
    assert torch.allclose(source.labels.bincount(), torch.tensor(20000.0 / modes).long(), atol=1)
    noise = (points - data.centers[source.labels]) / data.std
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)


def test_floats_reach_the_model_as_they_are_and_held_out_points_stay():
    small, large = gaussians(), gaussians("data.num_images=3000", "data.batch_size=32")
    assert torch.equal(small.sources["test"].images, large.sources["test"].images)
    assert len(small.sources["test"]) == len(small.sources["val"]) == 10_000
    (batch,) = next(iter(large.train_dataloader()))
    train = large.sources["train"]
    rows = [(train.images.view(-1, 2) == point).all(1).nonzero().item() for point in batch.images.view(-1, 2)]
    assert torch.equal(train.labels[rows], batch.labels)


# Modes of Gaussians


def scores_of(points: torch.Tensor, data, **options) -> dict[str, float]:
    metric = GaussianModes(**options)
    metric.start(data, "test")
    metric.update(points.view(-1, 1, 1, 2))
    return {name: value.item() for name, value in metric.compute().items()}


def test_modes_by_hand():
    data = gaussians()
    away = torch.tensor([data.std, 0.0])
    points = torch.stack(
        [
            data.centers[0],
            data.centers[0] + 2.9 * away,
            data.centers[1] + 3.1 * away,  # nearest to mode 1, and not good
            data.centers[2] + 2.9 * away,
        ]
    )
    # two at mode 0, one each at 1 and 2, of eight
    kl = 0.5 * math.log(0.5 * 8) + 2 * 0.25 * math.log(0.25 * 8)
    found = scores_of(points, data)
    assert found == {"modes": 2, "high_quality": 0.75, "reverse_kl": pytest.approx(kl)}
    assert scores_of(points, data, radius=3.2)["modes"] == 3
    assert scores_of(points, data, least=2)["modes"] == 1


def test_broken_points_are_at_no_mode():
    data = gaussians()
    points = torch.stack([data.centers[3], torch.tensor([math.nan, 0.0])])
    found = scores_of(points, data)
    assert (found["modes"], found["high_quality"]) == (1, 0.5)
    assert found["reverse_kl"] == pytest.approx(math.log(8))
    assert math.isnan(scores_of(points[1:], data)["reverse_kl"])


def test_kl_of_counts():
    assert kl_of_counts(torch.tensor([1, 3]), torch.tensor([2, 6])).item() == pytest.approx(0)
    assert kl_of_counts(torch.tensor([1, 1]), torch.tensor([1, 3])).item() == pytest.approx(0.5 * math.log(4 / 3))
    assert kl_of_counts(torch.tensor([1, 1]), torch.tensor([1, 0])).item() == math.inf
    assert kl_of_counts(torch.tensor([0, 2]), torch.tensor([1, 1])).item() == pytest.approx(math.log(2))


def metrics():
    return {"modes": GaussianModes(), "frechet": FrechetDistance(), "precision_recall": PrecisionRecall()}


def test_the_data_themselves_reach_all_modes_and_features_are_skipped():
    data = gaussians("data.layout=grid")
    model = Given(data.sources["val"].images)
    result = evaluate(model, data, metrics(), {"nothing": Nothing()}, batch_size=999)
    assert result.scores["modes"].value == 25
    assert result.scores["high_quality"].value == pytest.approx(1 - math.exp(-4.5), abs=0.004)
    assert result.scores["reverse_kl"].value == pytest.approx(0, abs=1e-6)
    assert set(result.skipped) == {"frechet", "precision_recall"}
    assert "not 1x2" in result.skipped["frechet"]
    protocol = result.protocol
    assert (protocol.n_fake, protocol.extractors) == (10_000, {})
    wanted = {"high_quality_within_std": 3.0, "covered_from_samples": 1, "modes_there_are": 25}
    assert protocol.metrics["modes"] == wanted
    json.dumps(result.to_json())


def test_a_second_evaluation_starts_anew_and_other_data_are_skipped():
    data = gaussians()
    metric = {"modes": GaussianModes()}
    first = evaluate(Given(data.sources["val"].images), data, metric, None).values
    one_mode = evaluate(Given(data.centers[:1].view(1, 1, 1, 2)), data, metric, None).values
    assert (first["modes"], one_mode["modes"], one_mode["high_quality"]) == (8, 1, 1)
    assert one_mode["reverse_kl"] == pytest.approx(math.log(8))
    fake = build_data(composed("data=fake").data)
    skipped = evaluate(Given(torch.zeros(1, 3, 32, 32)), fake, metric, None).skipped
    assert "no known centers" in skipped["modes"]


def _process(rank, folder, world_size):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world_size)
    data = gaussians()

    model = Given(data.centers[:3].view(3, 1, 1, 2))
    # one batch of samples: the second process has none, and must not hang
    result = evaluate(model, data, {"modes": GaussianModes()}, None, num_samples=13, batch_size=13)
    (folder / f"{rank}.json").write_text(json.dumps(result.values))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_add_up(tmp_path):
    on_two_ranks(_process, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert (first["modes"], first["high_quality"]) == (3, 1)


# Precision, recall, density, coverage


def naive(real: torch.Tensor, fake: torch.Tensor, k: int) -> dict[str, float]:
    def reach(points):
        each = []
        for i, point in enumerate(points):
            others = sorted((point - other).norm().item() for j, other in enumerate(points) if j != i)
            each.append(others[k - 1])
        return each

    balls, fake_balls = reach(real), reach(fake)
    inside = [[(x - y).norm().item() <= r for x, r in zip(real, balls, strict=True)] for y in fake]
    inside_fake = [any((x - y).norm().item() <= r for y, r in zip(fake, fake_balls, strict=True)) for x in real]
    return {
        "precision": sum(any(row) for row in inside) / len(fake),
        "recall": sum(inside_fake) / len(real),
        "density": sum(map(sum, inside)) / (k * len(fake)),
        "coverage": sum(any(column) for column in zip(*inside, strict=True)) / len(real),
    }


def filled(metric, real, fake):
    for pieces, is_real in ((real, True), (fake, False)):
        for piece in pieces.split(17):
            metric.update(piece, real=is_real)
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", [2**23, 100])
def test_neighbor_scores_are_those_of_plain_loops(k, block, monkeypatch):
    monkeypatch.setattr("lightning_gen.metrics.neighbors.BLOCK", block)
    real, fake = normal(60, 4, key="real"), 0.7 * normal(45, 4, key="fake") + 0.4
    expected = naive(real.double(), fake.double(), k)
    found = filled(PrecisionRecall(k), real, fake) | filled(DensityCoverage(k), real, fake)
    assert found == pytest.approx(expected, rel=1e-9)
    assert 0 < min(found.values()) < 1


def test_radius_of_a_line_of_points():
    points = torch.tensor([[0.0], [1.0], [3.0], [3.0], [7.0]]).double()
    assert radii(points, 1).flatten().tolist() == pytest.approx([1, 1, 0, 0, 4], abs=1e-7)
    assert radii(points, 2).flatten().tolist() == pytest.approx([3, 2, 2, 2, 4], abs=1e-7)


def test_a_collapsed_model_has_precision_and_no_recall():
    real = normal(200, 3, key="real")
    one_place = real[:1] + 1e-3 * normal(100, 3, key="fake")
    found = filled(PrecisionRecall(), real, one_place) | filled(DensityCoverage(), real, one_place)
    assert found["precision"] == 1
    assert max(found["recall"], found["coverage"]) < 0.1
    far = filled(PrecisionRecall(), real, real + 100) | filled(DensityCoverage(), real, real + 100)
    assert set(far.values()) == {0}
    itself = filled(PrecisionRecall(), real, real) | filled(DensityCoverage(), real, real)
    assert itself["precision"] == itself["recall"] == itself["coverage"] == 1


@pytest.mark.parametrize("make", [PrecisionRecall, DensityCoverage])
def test_broken_features_and_few_images_give_nan(make):
    broken = normal(10, 4, key="broken")
    broken[3, 2] = torch.nan
    for fake in (broken, normal(2, 4, key="few"), torch.empty(0, 4)):
        assert all(math.isnan(value) for value in filled(make(), normal(10, 4, key="real"), fake).values())


@pytest.mark.parametrize("make", [PrecisionRecall, DensityCoverage])
def test_real_features_outlive_reset_fake(make):
    real, fake = normal(30, 4, key="real"), normal(30, 4, key="fake")
    metric = make()
    first = filled(metric, real, fake)
    metric.reset_fake()
    metric.update(fake, real=False)
    assert {name: value.item() for name, value in metric.compute().items()} == first
