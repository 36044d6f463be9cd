"""The players of a GAN: networks with inputs and outputs for a generator, and for discriminators that use labels.

Encoders are constructed with `(image_shape, out_dim)`, decoders with `(in_dim, image_shape)`. Those that see the label
also get `condition_dim`, and are called with a second argument `(B, condition_dim)`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.networks.label_embedding import conditioned, label_embedding

# Output activations of generators; none where losses alone keep images in [-1, 1].
OUTPUTS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "none": nn.Identity()}


class Generator(nn.Module):
    """A decoder of latents `(B, latent_dim)` and, with `num_classes`, of embedded labels.

    `output` is a key of `OUTPUTS`.
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
    """An encoder to `(B, 1 + extra)`: the logit, and other predictions of the model. It ignores labels."""

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
    """An encoder with an embedding of the label, `(B, label_dim)`, as an input: https://arxiv.org/abs/1411.1784."""

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
    """Logits linear in `features` of the image, plus their inner product with an embedding of the label.

    https://arxiv.org/abs/1802.05637, eq. 5. Without classes the encoder outputs the logit.
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
            nn.init.normal_(self.embedding.weight, std=features**-0.5)  # for products of the linear part's scale

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.encoder(images).float()
        if self.embedding is None:
            return features
        output = self.linear(features)
        projection = (features * self.embedding(labels)).sum(1, keepdim=True)
        return torch.cat([output[:, :1] + projection, output[:, 1:]], dim=1)
