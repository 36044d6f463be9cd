"""Base of hierarchical VAEs: latents of several layers, each given all coarser ones, inferred from coarse to fine."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.top_down import TopDown


class HierarchicalVAE(LatentVariableModel):
    """Each layer's prior depends on the latents of all coarser layers, and so does its posterior.

    A subclass sets the `encoder`, of images to the features of each level, and the `decoder`. Whitened latents of all
    layers, `(B, d)`, are those of `latent`, `encode` and `decode`.
    """

    averaged_parts = ("encoder", "decoder", "label_embedding")
    compiled_parts = ("encoder",)
    temperature = 1.0

    encoder: nn.Module
    decoder: TopDown

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Encode once, sample all layers `samples` times."""
        features = self.encoder(images, self.condition(labels))
        for _ in range(samples):
            noise = self._noise(len(images))
            parameters, whitened = self._infer(features, noise, labels)
            log_prob = self.likelihood.log_prob(parameters, images)
            yield Inference(log_prob, mean=whitened.mean, log_var=whitened.log_var, noise=noise)

    def _infer(self, features: list[Tensor], noise: Tensor, labels: Tensor | None) -> tuple[Tensor, DiagonalNormal]:
        """Parameters of the likelihood, and the posterior of all layers relative to their priors."""
        parameters, pairs = self.decoder(noise, self.condition(labels), features)
        relative = [posterior.relative_to(prior) for posterior, prior in pairs]
        return parameters, DiagonalNormal.cat(DiagonalNormal(mean.flatten(1), var.flatten(1)) for mean, var in relative)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO and its terms, and the KL divergence of the layers of each size."""
        [inference] = self.inferences(self.to_support(batch.images), batch.labels, samples=1)
        return self.bound(inference) | self._divergences(inference.kls.detach())

    def _divergences(self, kls: Tensor) -> dict[str, Tensor]:
        """The sum of the layers of each size, of the divergences `(B, d)` of all latents."""
        shapes, totals = self.decoder.latent_shapes, {}
        for (_, height, width), kl in zip(shapes, kls.mean(0).split([math.prod(s) for s in shapes]), strict=True):
            name = f"kl_{height}x{width}"
            totals[name] = totals.get(name, 0) + kl.sum()
        return totals

    def latent(self, n: int) -> Tensor:
        """Normal noise `(n, d)` of all layers, of scale `temperature`; `decode` maps it to latents."""
        return self.temperature * self._noise(n)

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, sum(math.prod(shape) for shape in self.decoder.latent_shapes), device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior means of all layers, each given the coarser ones."""
        images = self.to_support(images)
        features = self.encoder(images, self.condition(labels))
        return self._infer(features, torch.zeros_like(self._noise(len(images))), labels)[1].mean

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected image under the likelihood."""
        labels = self.draw_labels(len(latent)) if labels is None else labels
        return self.likelihood.mean(self.decoder(latent, self.condition(labels))[0])

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior means."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Decode latents from the prior."""
        return self.decode(self.latent(n), labels)
