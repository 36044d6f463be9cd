from lightning_gen.models.vdvae import VDVAE
from lightning_gen.models.latent_variable_model import LatentVariableModel
from lightning_gen.networks.ladder import Encoder, Decoder

class LadderVAE(VDVAE):
    """x"""
    def __init__(self, image_shape, num_classes, *, width: int, vector: int, patch: int, depth: int, layers: list[int], latents: list[int], weighted: bool = False, **training):
        LatentVariableModel.__init__(self, image_shape, num_classes, **training)
        self.encoder = Encoder(image_shape, self.label_dim, width, vector, patch, depth)
        self.decoder = Decoder(self.parameters_shape(image_shape), self.label_dim, width, vector, patch, depth, layers, latents, weighted)
