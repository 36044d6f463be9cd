"""Relativistic average GAN (RaGAN), https://arxiv.org/abs/1807.00734, section 4.2."""

import torch.nn.functional as F
from torch import Tensor


class MyOption:
    """Whether an image is more realistic than the mean image of the other kind, from logits `(B,)` of both kinds."""

    relativistic = True  # the generator's loss needs the logits of real images, too

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, a scalar."""
        return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The generator's loss, a scalar: the same with real and generated images exchanged."""
        return self.discriminator(fake, real)
