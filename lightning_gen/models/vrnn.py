"""Variational recurrent network, over the rows of an image or the frames of a sequence, https://arxiv.org/abs/1506.02216."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal


class VRNN(LatentVariableModel):
    """A latent for each step, whose prior knows the steps before it.

    A step is a row of an image, taken as an image `(C, 1, W)`, or a frame `(C, H, W)` of a sequence.
    `encoder(image_shape, out_dim)` and `decoder(in_dim, image_shape)` are completed here, for one step. A label's
    embedding stands beside the recurrent state, of `hidden` units, wherever that is read.
    """

    averaged_parts = ("encoder", "decoder", "latent_features", "prior", "posterior", "cell", "label_embedding")
    compiled_parts = ("encoder", "decoder", "latent_features", "prior", "posterior", "cell")
    takes_sequences = True
    draws_predictions = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        latent_dim: PositiveInt,
        hidden: PositiveInt,
        **bound,
    ):
        super().__init__(image_shape, num_classes, **bound)
        *time, channels, height, width = image_shape
        self.of_frames = bool(time)
        if self.of_frames:
            self.context_frames = max(1, time[0] // 2)  # that pictures and scores of predictions give it
        self.latent_dim = latent_dim
        self.hidden = hidden
        height = height if time else 1
        state = hidden + self.label_dim
        self.encoder = encoder(image_shape=(channels, height, width), out_dim=hidden)
        output_shape = (channels * self.likelihood.parameters_per_value, height, width)
        self.decoder = decoder(in_dim=hidden + state, image_shape=output_shape)
        self.latent_features = nn.Sequential(nn.Linear(latent_dim, hidden), nn.SiLU())
        self.prior = nn.Sequential(nn.Linear(state, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent_dim))  # eq. 5
        self.posterior = Posterior(state, hidden, latent_dim)
        self.cell = nn.GRUCell(2 * hidden, hidden)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Go through the steps `samples` times."""
        steps = self.steps_of(images)
        for _ in range(samples):
            noise = torch.randn(*steps.shape[:2], self.latent_dim, device=images.device)
            output, posterior, prior, _ = self.follow(steps, labels, noise)
            log_prob = self.likelihood.log_prob(output, steps.flatten(0, 1)).unflatten(0, steps.shape[:2]).sum(1)
            # In units of the prior, whose divergence from the posterior is that of eq. 11.
            relative = posterior.relative_to(prior)
            yield Inference(log_prob, *(each.flatten(1) for each in relative), noise.flatten(1))

    def follow(self, steps: Tensor, labels: Tensor | None, noise: Tensor):
        """What observed steps `(B, T, ...)` say, given the noise of their latents `(B, T, latent_dim)`.

        The decoder's output `(B * T, ...)`, posterior and prior, the state after all.
        """
        condition = self.condition(labels)
        state = steps.new_zeros(len(steps), self.hidden)
        features = F.silu(self.encoder(steps.flatten(0, 1))).unflatten(0, steps.shape[:2])
        seen = self.posterior.seen(features)
        states, latents, posteriors = [], [], []
        for t in range(steps.shape[1]):
            context = torch.cat([state, *condition], dim=1)
            posterior = DiagonalNormal.of(self.posterior(seen[:, t], context))  # eq. 9
            latent = self.latent_features(posterior.draw(noise[:, t]))
            state = self.cell(torch.cat([features[:, t], latent], dim=1), state)  # eq. 7
            states.append(context)
            latents.append(latent)
            posteriors.append(posterior)
        context, latent = torch.stack(states, dim=1), torch.stack(latents, dim=1)
        output = self.decoder(torch.cat([latent, context], dim=2).flatten(0, 1)).float()  # eq. 6
        posterior = DiagonalNormal(*(torch.stack(each, dim=1) for each in zip(*posteriors, strict=True)))
        return output, posterior, DiagonalNormal.of(self.prior(context)), state

    def generate(self, state: Tensor, steps: int, labels: Tensor | None) -> Tensor:
        """The expected value of each further step, given the draws of those before it."""
        condition, means = self.condition(labels), []
        for _ in range(steps):
            context = torch.cat([state, *condition], dim=1)
            prior = DiagonalNormal.of(self.prior(context))
            latent = self.latent_features(prior.draw(torch.randn_like(prior.mean)))
            output = self.decoder(torch.cat([latent, context], dim=1)).float()
            features = F.silu(self.encoder(self.likelihood.draw(output)))
            state = self.cell(torch.cat([features, latent], dim=1), state)
            means.append(self.likelihood.mean(output))
        return torch.stack(means, dim=1)

    def go_on(self, observed: Tensor, steps: int, labels: Tensor | None) -> Tensor:
        """Further steps after observed ones `(B, T, ...)`, of which there may be none."""
        labels = self.draw_labels(len(observed)) if labels is None else labels
        state = torch.zeros(len(observed), self.hidden, device=self.device)
        if observed.shape[1]:
            noise = torch.randn(*observed.shape[:2], self.latent_dim, device=self.device)
            state = self.follow(observed, labels, noise)[-1]
        return self.generate(state, steps, labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images or sequences made step by step."""
        nothing = self.steps_of(torch.empty(n, *self.image_shape, device=self.device))
        return self.images_of(self.go_on(nothing[:, :0], nothing.shape[1], labels))

    def predict(self, context: Tensor, steps: int, labels: Tensor | None = None) -> Tensor:
        """Continue sequences `(B, T, C, H, W)` by `steps` frames."""
        return self.go_on(context, steps, labels)

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Images whose first `rows` rows are as they are."""
        given = self.steps_of(images)[:, :rows]
        drawn = self.go_on(given, images.shape[2] - rows, labels)
        return self.images_of(torch.cat([given, drawn], dim=1))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected value of each step given the posterior's mean and the true steps before it."""
        steps = self.steps_of(self.observe(images))
        noise = torch.zeros(*steps.shape[:2], self.latent_dim, device=self.device)
        output = self.follow(steps, labels, noise)[0]
        return self.images_of(self.likelihood.mean(output).unflatten(0, steps.shape[:2]))

    def steps_of(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` as their rows `(B, H, C, 1, W)`; sequences as they are."""
        return images if self.of_frames else images.transpose(1, 2).unsqueeze(3)

    def images_of(self, steps: Tensor) -> Tensor:
        """The inverse of `steps_of`."""
        return steps if self.of_frames else steps.squeeze(3).transpose(1, 2)


class Posterior(nn.Module):
    """q(z | x, h) as two layers; `seen`, the first one's part for x, is applied to all steps at once."""

    def __init__(self, state: int, hidden: int, latent_dim: int):
        super().__init__()
        self.seen = nn.Linear(hidden, hidden)
        self.state = nn.Linear(state, hidden, bias=False)
        self.out = nn.Linear(hidden, 2 * latent_dim)

    def forward(self, seen: Tensor, state: Tensor) -> Tensor:
        return self.out(F.silu(seen + self.state(state)))
