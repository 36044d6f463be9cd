"""Ladder VAE: a few levels of latents, which are inferred from coarse to fine, https://arxiv.org/abs/1602.02282."""

from typing import Annotated

from annotated_types import Ge

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.hierarchical_vae import HierarchicalVAE
from lightning_gen.networks.ladder import LadderDecoder, LadderEncoder


class LadderVAE(HierarchicalVAE):
    """A hierarchy of latents of few layers: of a vector, and of maps at each size of the networks.

    `latent_dim` values of a vector of `vector` units, then `latent_channels` maps at each size, of which the largest is
    smaller than the image by `patch` and has `width` channels; `layers` times each. In the paper a posterior is the
    product of the prior and of what the image tells; here a network joins both, which learned faster on digits.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        latent_dim: PositiveInt,
        latent_channels: PositiveInt,
        layers: PositiveInt,
        vector: PositiveInt,
        width: PositiveInt,
        patch: Annotated[int, Ge(2)],
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        sizes = {"width": width, "vector": vector, "patch": patch}
        latents = {"layers": layers, "latent_dim": latent_dim, "latent_channels": latent_channels}
        self.encoder = LadderEncoder(image_shape, self.label_dim, **sizes)
        self.decoder = LadderDecoder(self.parameters_shape(image_shape), self.label_dim, **sizes, **latents)
