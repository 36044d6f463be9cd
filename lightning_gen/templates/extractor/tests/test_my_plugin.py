import torch
from my_plugin import MyOption

from lightning_gen.testing import check_metric


def test_my_option():
    check_metric("kid", "extractor=[my_option]")


def test_the_direction_of_stripes():
    stripes = (torch.arange(16) // 4 % 2 * 255).to(torch.uint8).expand(1, 3, 16, 16)
    vertical, horizontal = (MyOption(cells=1, bins=4)(images)[0] for images in (stripes, stripes.mT.contiguous()))
    assert vertical.argmax() == 0  # brightness changes along the rows
    assert horizontal.argmax() == 2


def test_brightness_makes_no_difference():
    images = torch.randint(100, (2, 3, 16, 16), dtype=torch.uint8)
    extractor = MyOption(cells=2, bins=9)
    torch.testing.assert_close(extractor(images), extractor(images + 100), atol=2e-2, rtol=0)
