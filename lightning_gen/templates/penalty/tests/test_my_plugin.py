import torch
from my_plugin import MyOption

from lightning_gen.losses.penalties import Players, Round
from lightning_gen.testing import check_model


def test_my_option():
    check_model("gan", "model/penalty=[my_option]", data="gray")


def test_the_mean_of_squares():
    images, output = torch.zeros(2, 1, 4, 4), torch.tensor([[1.0], [3.0]])
    round = Round(images, images, torch.zeros(2, 3), real_output=output)
    players = Players(lambda latent, labels: images, lambda images, labels: output[:, 0])
    assert MyOption(weight=1.0)(players, round) == 5
