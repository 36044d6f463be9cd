"""VAE with free bits, https://arxiv.org/abs/1606.04934, section C.8."""

from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.models.vae import VAE


class MyOption(VAE):
    """The KL divergence of each latent, up to `free_nats`, is not penalized, which prevents posterior collapse."""

    def __init__(self, *args, free_nats: float, **vae):
        super().__init__(*args, **vae)
        self.free_nats = free_nats

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        [inference] = self.inferences(self.to_support(batch.images), batch.labels, samples=1)
        mean, log_var = inference.mean, inference.log_var  # (B, latent_dim)
        kl = 0.5 * (mean**2 + log_var.exp() - log_var - 1).mean(0)  # (latent_dim,)
        reconstruction = -inference.log_prob.mean()
        loss = reconstruction + self.beta * kl.clamp(min=self.free_nats).sum()
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl.sum()}
