import torch
from my_plugin import MyOption

from lightning_gen.testing import check_metric


def test_my_option():
    check_metric("my_option")


def score(*batches: torch.Tensor) -> torch.Tensor:
    metric = MyOption()
    for images in batches:
        metric.update(images)
    return metric.compute()["my_option"]


def test_a_ramp_is_not_sharp_and_noise_is():
    ramp = torch.linspace(-1, 1, 9).expand(2, 3, 9, 9)
    torch.testing.assert_close(score(ramp), torch.tensor(0.0, dtype=torch.float64), atol=1e-6, rtol=0)
    assert score(torch.rand(2, 3, 9, 9)) > 0.1


def test_the_batch_size_makes_no_difference():
    images = torch.rand(6, 1, 8, 8)
    torch.testing.assert_close(score(images), score(images[:1], images[1:]))
