"""StyleGAN2, https://arxiv.org/abs/1912.04958; style mixing and truncation: https://arxiv.org/abs/1812.04948."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN
from lightning_gen.networks.players import Generator
from lightning_gen.networks.stylegan2 import StyleGAN2Generator
from lightning_gen.utilities.ranks import mean_over_ranks


class StyleGenerator(Generator):
    """A generator with styles, and their running mean over training, the center of truncation."""

    decoder: StyleGAN2Generator  # pyrefly: ignore[bad-override-mutable-attribute]  # set in the constructor only
    mean_style: Tensor
    batches_followed: Tensor  # number of batches in the mean

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
        """Images `(B, C, H, W)`; with styles of the latents `other`, if given, from layer `crossover` `(B,)` on."""
        style = self.style(latent, labels)
        if self.training:
            self.update_mean(style.detach())
        if other is not None and crossover is not None:
            style = mix_styles(style, self.style(other, labels), crossover, self.decoder.synthesis.num_layers)
        return self.render(style)

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents to styles `(B, style_dim)`."""
        return self.decoder.mapping(latent, self.embedding(labels))

    def render(self, styles: Tensor) -> Tensor:
        """Styles `(B, style_dim)` or `(B, num_layers, style_dim)` to images."""
        return self.output(self.decoder.synthesis(styles).float())

    def blocks(self) -> list[nn.Module]:
        """What is called as a function, inner modules first: `style` and `render` use them, too."""
        return [self.decoder.mapping, *self.decoder.synthesis.levels, self.decoder.synthesis]

    @torch.no_grad()
    def update_mean(self, style: Tensor) -> None:
        """Update the running mean with styles `(B, style_dim)` of all ranks; at first it is the plain mean."""
        mean = mean_over_ranks(style.float().mean(0))
        self.batches_followed += 1
        self.mean_style.lerp_(mean, (1 / self.batches_followed).clamp(min=1 - self.decay))


class StyleGAN2(GAN):
    """A GAN with a style-based generator, trained with style mixing.

    `mixing` is the probability of an image to have the styles of a second latent from a random layer on. `truncation`
    interpolates styles from their mean (0) to themselves (1).
    """

    generator: StyleGenerator  # pyrefly: ignore[bad-override-mutable-attribute]  # set in the constructor only

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, *, mixing: UnitInterval, **gan):
        super().__init__(image_shape, num_classes, **gan)
        self.mixing = mixing

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> StyleGenerator:
        """The generator, a function of latents and labels."""
        return StyleGenerator(decoder, self.latent_dim, self.image_shape, self.num_classes, label_dim, output)

    def latent(self, n: int) -> Tensor:
        """Latents `(n, d)` sampled from the prior, never truncated: styles are."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def forward_generator(self, batch: Batch) -> Round:
        """A round with generated images, in training with style mixing."""
        if not (self.training and self.mixing):
            return super().forward_generator(batch)
        labels = batch.labels if self.num_classes else None
        n = len(batch.images)
        latent, other = self.latent(n), self.latent(n)
        layers = self.generator.decoder.synthesis.num_layers
        crossover = torch.randint(1, layers, (n,), device=self.device)
        mixed = torch.rand(n, device=self.device) < self.mixing
        crossover = torch.where(mixed, crossover, layers)
        return Round(batch.images, self.generator(latent, labels, other, crossover), latent, labels)

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents to styles `(B, style_dim)`; conditional models sample labels if none are given."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(latent))
        return self.generator.style(latent, labels)

    def decode_style(self, style: Tensor) -> Tensor:
        """Styles `(B, style_dim)` or `(B, num_layers, style_dim)` to images."""
        return self.generator.render(style).clamp(-1, 1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images of latents from the prior, with truncated styles if `truncation` is set."""
        if self.truncation is None:
            return super().sample(n, labels)
        style = self.style(self.latent(n), labels)
        mean = self.generator.mean_style
        return self.decode_style(mean + self.truncation * (style - mean))  # StyleGAN, appendix B


def mix_styles(style: Tensor, other: Tensor, crossover: Tensor, layers: int) -> Tensor:
    """Styles `(B, layers, style_dim)`, those of `other` from layer `crossover` `(B,)` on."""
    first = torch.arange(layers, device=style.device) < crossover[:, None]
    return torch.where(first[:, :, None], style[:, None], other[:, None])
