"""What a run shows of its latents: traversals, and a warning when they are not used."""

import logging
from types import SimpleNamespace

import pytest
import torch
from helpers.linear_gaussian import LinearGaussian

from lightning_gen.batch import Batch
from lightning_gen.callbacks.active_units import LogActiveUnits
from lightning_gen.callbacks.traversals import Traversals, used
from lightning_gen.capabilities import Encodes


def trainer_of(images: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(datamodule=SimpleNamespace(batches=lambda *_, limit: iter([Batch(images, None)])))


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
