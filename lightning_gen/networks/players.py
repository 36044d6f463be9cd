"""How the players of a GAN see class labels.

An encoder is made with `(image_shape, out_dim)` and a decoder with `(in_dim, image_shape)`; where the model is
conditional and the network itself is to see the label, it also gets `condition_dim`, and is called with a second
argument `(B, condition_dim)`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.label_embedding import conditioned, label_embedding

# What closes a generator: tanh where its range is unbounded, none where the losses keep it in [-1, 1].
OUTPUTS = {"tanh": torch.tanh, "none": nn.Identity()}


class Generator(nn.Module):
    """A decoder of latents `(B, latent_dim)` and, if there are `num_classes`, of an embedding of the labels.

    `output` is the name of one of `OUTPUTS`.
    """

    def __init__(
        self,
        decoder: Callable[..., nn.Module],
        latent_dim: int,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        label_dim: int,
        output: str,
    ):
        super().__init__()
        condition = {"condition_dim": label_dim} if num_classes else {}
        self.embedding = label_embedding(num_classes, label_dim)
        self.decoder = decoder(in_dim=latent_dim, image_shape=image_shape, **condition)
        self.output = OUTPUTS[output]

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        # Losses are taken in float32 whatever the networks run in.
        return self.output(conditioned(self.decoder, latent, self.embedding(labels)).float())


class PlainDiscriminator(nn.Module):
    """An encoder to `(B, 1 + extra)`: the logit, and what else the model predicts. It doesn't see labels."""

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        image_shape: tuple[int, ...],
        num_classes: int | None,
        extra: int = 0,
    ):
        super().__init__()
        self.encoder = encoder(image_shape=image_shape, out_dim=1 + extra)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.encoder(images).float()


class ConcatenatingDiscriminator(nn.Module):
    """The encoder gets an embedding of the label with `label_dim` values, as plain ones do beside the image's channels.

    https://arxiv.org/abs/1411.1784.
    """

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        image_shape: tuple[int, ...],
        num_classes: int | None,
        extra: int = 0,
        *,
        label_dim: NonNegativeInt,
    ):
        super().__init__()
        condition = {"condition_dim": label_dim} if num_classes else {}
        self.embedding = label_embedding(num_classes, label_dim)
        self.encoder = encoder(image_shape=image_shape, out_dim=1 + extra, **condition)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return conditioned(self.encoder, images, self.embedding(labels)).float()


class ProjectionDiscriminator(nn.Module):
    """The logit is linear in `features` of the image, plus their product with an embedding of the label.

    https://arxiv.org/abs/1802.05637, eq. 5. Without labels the encoder gives the logit itself.
    """

    def __init__(
        self,
        encoder: Callable[..., nn.Module],
        image_shape: tuple[int, ...],
        num_classes: int | None,
        extra: int = 0,
        *,
        features: PositiveInt,
    ):
        super().__init__()
        self.embedding = None
        self.encoder = encoder(image_shape=image_shape, out_dim=features if num_classes else 1 + extra)
        if num_classes:
            self.linear = nn.Linear(features, 1 + extra)
            self.embedding = nn.Embedding(num_classes, features)
            nn.init.normal_(self.embedding.weight, std=features**-0.5)  # its product starts at the linear part's size

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.encoder(images).float()
        if self.embedding is None:
            return features
        output = self.linear(features)
        projection = (features * self.embedding(labels)).sum(1, keepdim=True)
        return torch.cat([output[:, :1] + projection, output[:, 1:]], dim=1)
