"""What a run shows of its latents: traversals, and a warning when they are not used."""

import logging
from types import SimpleNamespace

import pytest
import torch
from helpers.linear_gaussian import LinearGaussian

from lightning_gen.batch import Batch
from lightning_gen.callbacks.active_units import LogActiveUnits
from lightning_gen.callbacks.latent_histograms import LatentHistograms, densities
from lightning_gen.callbacks.latent_map import LatentMap, draw_map, principal_components
from lightning_gen.callbacks.traversals import Traversals, used
from lightning_gen.capabilities import Encodes


def trainer_of(images: torch.Tensor, labels: torch.Tensor | None = None) -> SimpleNamespace:
    data = SimpleNamespace(batches=lambda *_, limit: iter([Batch(images, labels)]), class_names=["left", "right"])
    return SimpleNamespace(datamodule=data)


def ready(model: LinearGaussian) -> LinearGaussian:
    model.log_now = lambda scalars: None
    return model.eval()


@torch.no_grad()
def test_a_row_for_each_latent_the_most_used_first():
    model = ready(LinearGaussian())
    images = model.images(300)
    traversals = Traversals("x", 1, n=2, columns=5, reach=2.0)
    picture = traversals.pictures(trainer_of(images), model)["traversals"]
    name, uses = used(model, [Batch(images, None)])
    assert name == "kl"
    assert uses[0] > uses[1]  # the column of W is longer
    margin = picture.shape[2] - (5 * (3 + 2) + 2)
    assert picture.shape[1] == 2 * (2 + 2) + 2
    latent = model.encode(images[:1])
    for row, place in enumerate(uses.argsort(descending=True).tolist()):
        for column, value in enumerate((-2.0, -1.0, 0.0, 1.0, 2.0)):
            moved = latent.clone()
            moved[0, place] = value
            top, left = 2 + 4 * row, margin + 2 + 5 * column
            torch.testing.assert_close(picture[:, top : top + 2, left : left + 3], model.decode(moved)[0])


def test_none_of_a_model_without_encoder():
    assert not isinstance(SimpleNamespace(decode=None, latent=None), Encodes)
    assert Traversals("x", 1, n=2, columns=5, reach=2.0).pictures(None, SimpleNamespace(image_shape=(1, 2, 3))) == {}


@pytest.mark.parametrize(("scale", "warned"), [(1.0, 0), (0.0, 1)])
def test_a_collapse_is_said_once_with_what_helps(scale, warned, caplog):
    model = ready(LinearGaussian())
    model.images_seen = 60_000
    with torch.no_grad():
        model.encoder[1].weight *= scale
    callback = LogActiveUnits()
    with caplog.at_level(logging.INFO, "lightning_gen"):
        for _ in range(2):
            callback.on_validation_end(trainer_of(model.images(100)), model)
    lines = [record.message for record in caplog.records if "posterior collapse" in record.message]
    assert len(lines) == warned
    assert all("model.beta_warmup_images=50000 or model.objective.free_nats=0.1" in line for line in lines)


def test_principal_components_are_of_largest_variance():
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    latents = (torch.randn(5000, 3) * torch.tensor([3.0, 2.0, 1.0])) @ turn
    points, caption = principal_components(latents)
    torch.testing.assert_close(points.std(0), torch.tensor([3.0, 2.0]), rtol=0.05, atol=0)
    assert caption == f"PCA: {9 / 14:.0%} and {4 / 14:.0%} of the variance"


def test_a_map_has_the_color_of_each_class_where_its_points_are():
    points = torch.tensor([[-1.0, 0.0]] * 30 + [[1.0, 0.0]] * 30)
    picture = draw_map(points, [0] * 30 + [1] * 30, ["left", "right"], "axes")
    colored = (picture.amax(0) - picture.amin(0) > 0.5).nonzero()[:, 1]
    in_map = colored[colored < 490]
    assert {int(place) // 245 for place in in_map} == {0, 1}
    half = [
        picture[:, :, part][:, (picture.amax(0) - picture.amin(0) > 0.5)[:, part]]
        for part in (slice(245), slice(245, 490))
    ]
    first, second = (part.mean(1) for part in half)
    assert (first - second).abs().max() > 0.5
    assert draw_map(points, None, [], "axes").shape[2] < picture.shape[2]  # no legend


@pytest.mark.parametrize("axes", ["pca", "used"])
@torch.no_grad()
def test_a_map_of_a_model(axes):
    model = ready(LinearGaussian())
    trainer = trainer_of(model.images(50), torch.arange(50) % 2)
    picture = LatentMap("x", 1, n=50, axes=axes).pictures(trainer, model)["latent_map"]
    assert picture.shape[0] == 3
    assert LatentMap("x", 1, n=50, axes=axes).pictures(trainer, SimpleNamespace(image_shape=(1, 2, 3))) == {}


def test_densities_share_a_range_and_have_area_1():
    torch.manual_seed(0)
    first, second = densities(torch.randn(50_000) * 0.5 + 3, torch.randn(50_000))
    width = (3 + 3.09 * 0.5 + 3.09) / len(first)  # from the 0.1 % quantile of one to the 99.9 % one of the other
    assert first.sum().item() * width == pytest.approx(1, rel=0.03)
    assert second.max().item() == pytest.approx(0.399, rel=0.1)
    assert int(first.argmax()) > int(second.argmax())


@torch.no_grad()
def test_histograms_of_the_latents_used_most():
    model = ready(LinearGaussian())
    pictures = LatentHistograms("x", 1, n=12).pictures(trainer_of(model.images(100)), model)
    assert pictures["latent_histograms"].shape == (3, 106 + 4, 2 * 160 + 6)  # a panel for each of 2 latents
    assert LatentHistograms("x", 1, n=2).pictures(None, SimpleNamespace(image_shape=(1, 2, 3))) == {}
