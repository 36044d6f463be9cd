"""A plugin for tests: a new GAN by its terms alone, and one whose latents don't depend on the number of processes."""

import torch

from lightning_gen.models.gan import GAN
from lightning_gen.randomness import generator


class OwnLSGAN(GAN):
    """Least squares, https://arxiv.org/abs/1611.04076, eq. 9."""

    def discriminator_terms(self, round):
        return {"d": ((round.real_logits - 1).square().mean() + round.fake_logits.square().mean()) / 2}

    def generator_terms(self, round):
        return {"g": (round.fake_logits - 1).square().mean() / 2}


class SharedLatents(GAN):
    """Draws the latents of the whole batch on every rank, and takes the share that goes with its images."""

    def latent(self, n):
        world, rank = self.trainer.world_size, self.global_rank
        draws = generator("latents", self.batches_seen)
        return torch.randn(n * world, self.latent_dim, generator=draws)[rank::world]
