"""Very deep VAE: latents at every resolution, from coarse to fine, https://arxiv.org/abs/2011.10650."""

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.hierarchical_vae import HierarchicalVAE
from lightning_gen.networks.top_down import BottomUp, VeryDeepDecoder


class VDVAE(HierarchicalVAE):
    """A hierarchy of latents of many layers: `layers` at 1x1 and at each size of feature maps but the image's own.

    Each has `latent_channels` maps. Feature maps have `width` channels at half the image's size, twice as many at each
    further one, to at most `largest`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        layers: PositiveInt,
        latent_channels: PositiveInt,
        width: PositiveInt,
        largest: PositiveInt,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.encoder = BottomUp(image_shape, self.label_dim, width, largest, depth=layers)
        self.decoder = VeryDeepDecoder(
            self.parameters_shape(image_shape), self.label_dim, width, largest, layers, latent_channels
        )
