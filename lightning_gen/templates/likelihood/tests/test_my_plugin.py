import math

import torch
from my_plugin import MyOption

from lightning_gen.testing import check_model


def test_my_option():
    check_model("mlp_vae", "model/likelihood=my_option", data="gray")


def test_the_density_integrates_to_one():
    images = torch.linspace(-1, 1, 1001).view(-1, 1, 1, 1)
    for logit in (-3.0, 0.0, 8.0):
        log_prob = MyOption().log_prob(torch.full_like(images, logit), images)
        density = (log_prob + math.log(255)).exp()
        assert abs(torch.trapezoid(density, dx=1e-3) - 1) < 1e-3


def test_samples_have_the_mean():
    torch.manual_seed(0)
    parameters = torch.full((1, 1, 200, 200), 2.0)
    samples = MyOption().sample(parameters)
    assert samples.abs().max() <= 1
    assert abs(samples.mean() - MyOption().mean(parameters).mean()) < 0.01
