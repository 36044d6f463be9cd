import math

import torch
from my_plugin import MyOption

from lightning_gen.testing import check_model


def test_my_option():
    check_model("gan", "model/loss=my_option", data="gray")


def test_equal_logits_are_a_draw():
    logits = torch.zeros(4)
    for loss in (MyOption().discriminator(logits, logits), MyOption().generator(logits, logits)):
        torch.testing.assert_close(loss, torch.tensor(2 * math.log(2)))


def test_only_differences_of_logits_count():
    real, fake = torch.randn(8), torch.randn(8)
    torch.testing.assert_close(MyOption().discriminator(real + 3, fake + 3), MyOption().discriminator(real, fake))
