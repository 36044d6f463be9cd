import torch

from lightning_gen import compose
from lightning_gen.batch import Batch
from lightning_gen.config import build_model
from lightning_gen.testing import check_model


def test_my_option():
    check_model("my_option")


def terms(*overrides: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = build_model(compose(overrides).model, (1, 8, 8), None)
    torch.manual_seed(0)
    return model.losses(Batch(torch.rand(4, 1, 8, 8) * 2 - 1, None))


def test_without_free_nats_it_is_a_vae():
    torch.testing.assert_close(terms("model=my_option", "model.free_nats=0")["loss"], terms("model=vae")["loss"])


def test_free_nats_do_not_depend_on_the_posterior():
    losses = terms("model=my_option", "model.free_nats=50", "model.latent_dim=3")
    assert (losses["loss"] - losses["reconstruction"]).item() == 150
