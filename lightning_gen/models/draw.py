"""DRAW: an image drawn in steps on a canvas, https://arxiv.org/abs/1502.04623."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.attention_window import attention_window
from lightning_gen.networks.diagonal_normal import DiagonalNormal

State = tuple[Tensor, Tensor]  # of an LSTM: hidden and cell


class DRAW(LatentVariableModel):
    """Encoder and decoder are LSTMs of `hidden` units that take `steps` steps, each with a latent of its own.

    The encoder reads through an attention window of `read_size` pixels a side, the decoder writes through one of
    `write_size`; None is the whole image. The canvas, summed up, is what the likelihood takes. The label's
    embedding is an input of both.
    """

    averaged_parts = ("encoder", "decoder", "label_embedding")
    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        steps: PositiveInt,
        latent_dim: PositiveInt,
        hidden: PositiveInt,
        read_size: PositiveInt | None,
        write_size: PositiveInt | None,
        **bound,
    ):
        super().__init__(image_shape, num_classes, **bound)
        channels, *size = image_shape
        self.steps = steps
        self.latent_dim = latent_dim
        self.encoder = Encoder(2 * channels, size, self.label_dim, latent_dim, hidden, read_size)
        canvas_channels = channels * self.likelihood.parameters_per_value
        self.decoder = Decoder(canvas_channels, size, self.label_dim, latent_dim, hidden, write_size)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Draw the image anew `samples` times, looking at it."""
        for _ in range(samples):
            noise = self.latent(len(images))
            canvas, mean, log_var = self.look_and_draw(images, labels, noise)
            yield Inference(self.likelihood.log_prob(canvas, images), mean, log_var, noise)

    def look_and_draw(self, images: Tensor, labels: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The last canvas and the mean and log-variance of the latents `(B, steps * latent_dim)`, given their noise."""
        condition, posteriors = self.condition(labels), []
        encoder_state, (canvas, *state) = self.encoder.start(len(images)), self.decoder.start(len(images))
        for step_noise in noise.chunk(self.steps, dim=1):
            error = images - self.likelihood.mean(canvas)  # eq. 3
            output, encoder_state = self.encoder(images, error, state[0], condition, encoder_state)
            posterior = DiagonalNormal.of(output)
            latent = posterior.draw(step_noise)
            canvas, *state = self.decoder(latent, condition, canvas, state)
            posteriors.append(posterior)
        means, log_vars = (torch.cat(each, dim=1) for each in zip(*posteriors, strict=True))
        return canvas, means, log_vars

    def canvases(self, latent: Tensor, labels: Tensor | None) -> Iterator[Tensor]:
        """The expected image under the likelihood after each step."""
        condition = self.condition(self.draw_labels(len(latent)) if labels is None else labels)
        canvas, *state = self.decoder.start(len(latent))
        for step_latent in latent.chunk(self.steps, dim=1):
            canvas, *state = self.decoder(step_latent, condition, canvas, state)
            yield self.likelihood.mean(canvas)

    def latent(self, n: int) -> Tensor:
        """Draw `(n, steps * latent_dim)` from the prior."""
        return torch.randn(n, self.steps * self.latent_dim, device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior means of all steps, each given those before it."""
        images = self.observe(images)
        return self.look_and_draw(images, labels, torch.zeros_like(self.latent(len(images))))[1]

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image at the last step."""
        *_, last = self.canvases(latent, labels)
        return last

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior means."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Expected images of latents from the prior."""
        return self.decode(self.latent(n), labels)

    def drawing(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Samples as they come to be, `(n, steps, C, H, W)` in [-1, 1]: the paper's figures 1 and 7."""
        return torch.stack(list(self.canvases(self.latent(n), labels)), dim=1)


class Encoder(nn.Module):
    """Reads the image and what is still wrong, and says where the step's latent is (eqs. 4-6)."""

    def __init__(self, channels: int, size: list[int], label_dim: int, latent_dim: int, hidden: int, read_size):
        super().__init__()
        self.window = attention_window(hidden, read_size, *size, writes=False)
        inputs = channels * math.prod(self.window.patch_shape) + hidden + label_dim
        self.first_state = nn.Parameter(torch.zeros(2, 1, hidden))
        self.cell = nn.LSTMCell(inputs, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent_dim)  # eqs. 1-2

    def start(self, n: int) -> State:
        """The learned state before the first step."""
        hidden, cell = self.first_state.expand(-1, n, -1)
        return hidden, cell

    def forward(
        self, images: Tensor, error: Tensor, decoder_hidden: Tensor, condition: tuple[Tensor, ...], state: State
    ) -> tuple[Tensor, State]:
        patches = self.window.read(torch.cat([images, error], dim=1), decoder_hidden).flatten(1)
        hidden, cell = self.cell(torch.cat([patches, decoder_hidden, *condition], dim=1), state)
        return self.posterior(hidden), (hidden, cell)


class Decoder(nn.Module):
    """Adds to the canvas what the step's latent says (eqs. 7-8)."""

    def __init__(self, channels: int, size: list[int], label_dim: int, latent_dim: int, hidden: int, write_size):
        super().__init__()
        self.window = attention_window(hidden, write_size, *size, writes=True)
        self.first_canvas = nn.Parameter(torch.zeros(1, channels, *size))
        self.first_state = nn.Parameter(torch.zeros(2, 1, hidden))
        self.cell = nn.LSTMCell(latent_dim + label_dim, hidden)
        self.patch = nn.Sequential(  # eq. 28
            nn.Linear(hidden, channels * math.prod(self.window.patch_shape)),
            nn.Unflatten(1, (channels, *self.window.patch_shape)),
        )

    def start(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The learned canvas and state before the first step."""
        hidden, cell = self.first_state.expand(-1, n, -1)
        return self.first_canvas.expand(n, -1, -1, -1), hidden, cell

    def forward(
        self, latent: Tensor, condition: tuple[Tensor, ...], canvas: Tensor, state: State
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, cell = self.cell(torch.cat([latent, *condition], dim=1), state)
        return canvas + self.window.write(self.patch(hidden), hidden), hidden, cell
