"""StyleGAN2, https://arxiv.org/abs/1912.04958: style mixing and truncation are of https://arxiv.org/abs/1812.04948."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN
from lightning_gen.networks.players import Generator


class StyleGenerator(Generator):
    """A generator whose decoder has styles, and their running mean over training: the center of truncation."""

    def __init__(self, *arguments, decay: float = 0.995):
        super().__init__(*arguments)
        if not (hasattr(self.decoder, "mapping") and hasattr(self.decoder, "synthesis")):
            raise UserError(
                f"model.generator: {type(self.decoder).__name__} has no styles; use "
                "network@model.generator=stylegan2_generator"
            )
        self.decay = decay
        self.register_buffer("mean_style", torch.zeros(self.decoder.style_dim))
        self.register_buffer("batches_followed", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        latent: Tensor,
        labels: Tensor | None = None,
        other: Tensor | None = None,
        crossover: Tensor | None = None,
    ) -> Tensor:
        """Images `(B, C, H, W)`; from layer `crossover` `(B,)` on, in the style of the latents `other`, if given."""
        style = self.style(latent, labels)
        if self.training:
            self.follow(style.detach())
        if other is not None:
            style = crossed(style, self.style(other, labels), crossover, self.decoder.synthesis.num_layers)
        return self.render(style)

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents to styles `(B, style_dim)`."""
        return self.decoder.mapping(latent, self.embedding(labels))

    def render(self, styles: Tensor) -> Tensor:
        """Styles `(B, style_dim)`, or `(B, num_layers, style_dim)`, to images."""
        return self.output(self.decoder.synthesis(styles).float())

    @torch.no_grad()
    def follow(self, style: Tensor) -> None:
        """Take the styles of all ranks into the mean: of all so far at first, so that it doesn't start at zero."""
        mean = style.float().mean(0)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.batches_followed += 1
        self.mean_style.lerp_(mean, (1 / self.batches_followed).clamp(min=1 - self.decay))


class StyleGAN2(GAN):
    """A GAN of styles. A share `mixing` of the images trained on has another latent's style from a random layer on.

    `truncation` draws styles so far towards their mean: 0 is the mean alone, 1 changes nothing.
    """

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, *, mixing: UnitInterval, **gan):
        super().__init__(image_shape, num_classes, **gan)
        self.mixing = mixing

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        """The generator, with styles between latents and images."""
        return StyleGenerator(decoder, self.latent_dim, self.image_shape, self.num_classes, label_dim, output)

    def latent(self, n: int) -> Tensor:
        """Draw `(n, d)` from the prior; it is styles that are truncated."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def play(self, batch: Batch) -> Round:
        """A round; in training some images are of two latents."""
        if not (self.training and self.mixing):
            return super().play(batch)
        labels = batch.labels if self.num_classes else None
        n = len(batch.images)
        latent, other = self.latent(n), self.latent(n)
        layers = self.generator.decoder.synthesis.num_layers
        crossover = torch.randint(1, layers, (n,), device=self.device)
        mixed = torch.rand(n, device=self.device) < self.mixing
        crossover = torch.where(mixed, crossover, layers)
        return Round(batch.images, self.generator(latent, labels, other, crossover), latent, labels)

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Styles `(B, style_dim)` of latents, labels drawn where the model needs them and none are given."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(latent))
        return self.generator.style(latent, labels)

    def decode_style(self, style: Tensor) -> Tensor:
        """Images of styles `(B, style_dim)` or `(B, num_layers, style_dim)`."""
        return self.generator.render(style).clamp(-1, 1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images of latents from the prior, their styles truncated if `truncation` is set."""
        if self.truncation is None:
            return super().sample(n, labels)
        style = self.style(self.latent(n), labels)
        mean = self.generator.mean_style
        return self.decode_style(mean + self.truncation * (style - mean))  # StyleGAN, appendix B


def crossed(style: Tensor, other: Tensor, crossover: Tensor, layers: int) -> Tensor:
    """Styles `(B, layers, style_dim)`: from layer `crossover` on those of `other`."""
    first = torch.arange(layers, device=style.device) < crossover[:, None]
    return torch.where(first[:, :, None], style[:, None], other[:, None])
