import torch
from my_plugin import MyOption

from lightning_gen.testing import check_model, check_network


def test_my_option():
    check_network("my_option")
    check_network("my_option", patch=3, kernel=3, depth=1)


def test_a_model_trains_with_it():
    check_model("vae", "network@model.encoder=my_option", data="conditional")


def test_positions_matter():
    torch.manual_seed(0)
    network = MyOption((1, 16, 16), 5, width=8, depth=1, patch=2, kernel=3)
    image = torch.zeros(1, 1, 16, 16)
    image[..., 2, 2] = 1
    assert not torch.allclose(network(image), network(image.flip(-1)), atol=1e-4)
