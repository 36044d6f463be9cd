"""DRAW: images painted step by step on a canvas, https://arxiv.org/abs/1502.04623."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.attention_window import attention_window
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.layers import with_condition
from lightning_gen.networks.recurrent import run

CellState = tuple[Tensor, Tensor]  # hidden and cell of an LSTM, (B, hidden)


class DRAW(LatentVariableModel):
    """Encoder and decoder are LSTMs of `hidden` units that run for `steps` steps with a latent each.

    The encoder reads through an attention window of `read_size` pixels a side, the decoder writes through one of
    `write_size`; None is the whole image. The canvas is the sum of all that is written, and holds the parameters of
    the likelihood. The label embedding is an input of both.
    """

    averaged_parts = ("encoder", "decoder", "label_embedding")
    compiled_parts = ("encoder", "decoder")
    temperature = 1.0

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
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.steps = steps
        self.latent_dim = latent_dim
        self.encoder = Encoder(image_shape, self.label_dim, latent_dim, hidden, read_size)
        self.decoder = Decoder(self.parameters_shape(image_shape), self.label_dim, latent_dim, hidden, write_size)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Paint the image `samples` times while reading it."""
        for _ in range(samples):
            noise = self._noise(len(images))
            canvas, posterior = self.read_and_write(images, labels, noise)
            log_prob = self.likelihood.log_prob(canvas, images)
            yield Inference(log_prob=log_prob, mean=posterior.mean, log_var=posterior.log_var, noise=noise)

    def read_and_write(self, images: Tensor, labels: Tensor | None, noise: Tensor) -> tuple[Tensor, DiagonalNormal]:
        """The last canvas and the posterior of all latents `(B, steps * latent_dim)`, given their noise."""
        condition, posteriors = self.condition(labels), []
        encoder_state, (canvas, state) = self.encoder.start(len(images)), self.decoder.start(len(images))
        for step_noise in noise.chunk(self.steps, dim=1):
            error = images - self.likelihood.mean(canvas)  # eq. 3
            output, encoder_state = self.encoder(images, error, state[0], condition, encoder_state)
            posterior = DiagonalNormal.of(output)
            latent = posterior.reparameterize(step_noise)
            canvas, state = self.decoder(latent, condition, canvas, state)
            posteriors.append(posterior)
        return canvas, DiagonalNormal.cat(posteriors)

    def canvases(self, latent: Tensor, labels: Tensor | None) -> Iterator[Tensor]:
        """The expected image under the likelihood after each step."""
        condition = self.condition(self.draw_labels(len(latent)) if labels is None else labels)
        canvas, state = self.decoder.start(len(latent))
        for step_latent in latent.chunk(self.steps, dim=1):
            canvas, state = self.decoder(step_latent, condition, canvas, state)
            yield self.likelihood.mean(canvas)

    def latent(self, n: int) -> Tensor:
        """Draw `(n, steps * latent_dim)` from the prior, its scale multiplied by `temperature`."""
        return self.temperature * self._noise(n)

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.steps * self.latent_dim, device=self.device)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The posterior means of all steps, each given the earlier ones."""
        images = self.to_support(images)
        _, posterior = self.read_and_write(images, labels, torch.zeros_like(self._noise(len(images))))
        return posterior.mean

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image at the last step."""
        *_, last = self.canvases(latent, labels)
        return last

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the posterior means."""
        return self.decode(self.encode(images, labels), labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Decode latents from the prior."""
        return self.decode(self.latent(n), labels)

    def drawing(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Samples after each step, `(n, steps, C, H, W)` in [-1, 1]: figures 1 and 7."""
        return torch.stack(list(self.canvases(self.latent(n), labels)), dim=1)


class Encoder(nn.Module):
    """Reads the image and the error of the canvas, and predicts the posterior of the step's latent (eqs. 4-6)."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        label_dim: int,
        latent_dim: int,
        hidden: int,
        read_size: int | None,
    ):
        super().__init__()
        channels, height, width = image_shape
        self.window = attention_window(hidden, read_size, height, width, writes=False)
        inputs = 2 * channels * math.prod(self.window.patch_shape) + hidden + label_dim
        self.first_state = nn.Parameter(torch.zeros(2, 1, hidden))
        self.cell = nn.LSTMCell(inputs, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent_dim)  # eqs. 1-2

    def blocks(self) -> list[nn.Module]:
        """What is called as a function; `start` and the window have weights of their own."""
        return [self.cell, self.posterior]

    def start(self, n: int) -> CellState:
        """The learned state before the first step."""
        hidden, cell = self.first_state.expand(-1, n, -1)
        return hidden, cell

    def forward(
        self,
        images: Tensor,
        error: Tensor,
        decoder_hidden: Tensor,
        condition: Tensor | None,
        state: CellState,
    ) -> tuple[Tensor, CellState]:
        patches = self.window.read(torch.cat([images, error], dim=1), decoder_hidden).flatten(1)
        inputs = with_condition(torch.cat([patches, decoder_hidden], dim=1), condition)
        hidden, cell = run(self.cell, inputs, state)
        return self.posterior(hidden), (hidden, cell)


class Decoder(nn.Module):
    """Writes the step's latent onto the canvas (eqs. 7-8)."""

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        label_dim: int,
        latent_dim: int,
        hidden: int,
        write_size: int | None,
    ):
        super().__init__()
        channels, height, width = canvas_shape
        self.window = attention_window(hidden, write_size, height, width, writes=True)
        self.first_canvas = nn.Parameter(torch.zeros(1, *canvas_shape))
        self.first_state = nn.Parameter(torch.zeros(2, 1, hidden))
        self.cell = nn.LSTMCell(latent_dim + label_dim, hidden)
        self.patch = nn.Sequential(  # eq. 28
            nn.Linear(hidden, channels * math.prod(self.window.patch_shape)),
            nn.Unflatten(1, (channels, *self.window.patch_shape)),
        )

    def blocks(self) -> list[nn.Module]:
        """What is called as a function; `start` and the window have weights of their own."""
        return [self.cell, self.patch]

    def start(self, n: int) -> tuple[Tensor, CellState]:
        """The learned canvas and state before the first step."""
        hidden, cell = self.first_state.expand(-1, n, -1)
        return self.first_canvas.expand(n, -1, -1, -1), (hidden, cell)

    def forward(
        self, latent: Tensor, condition: Tensor | None, canvas: Tensor, state: CellState
    ) -> tuple[Tensor, CellState]:
        hidden, cell = run(self.cell, with_condition(latent, condition), state)
        return canvas + self.window.write(self.patch(hidden), hidden), (hidden, cell)
