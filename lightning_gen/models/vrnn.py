"""Variational recurrent network, over the rows of an image or the frames of a sequence, https://arxiv.org/abs/1506.02216."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.recurrent import run


class VRNN(LatentVariableModel):
    """A latent for each step, whose prior depends on the earlier steps.

    A step is a row of an image, taken as an image `(C, 1, W)`, or a frame `(C, H, W)` of a sequence.
    `encoder(image_shape, out_dim)` and `decoder(in_dim, image_shape)` are completed here, for one step. Wherever the
    recurrent state of `hidden` units is read, the label embedding is appended to it.
    """

    averaged_parts = ("encoder", "decoder", "latent_features", "prior", "posterior", "cell", "label_embedding")
    compiled_parts = ("encoder", "decoder", "latent_features", "prior", "posterior", "cell")
    temperature = 1.0
    sharded_parts = ("encoder", "decoder")  # others are small, and called at each step
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
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        *time, channels, height, width = image_shape
        self.of_frames = bool(time)
        if self.of_frames:
            self.context_frames = max(1, time[0] // 2)  # for pictures and scores of predictions
        self.latent_dim = latent_dim
        self.hidden = hidden
        step_shape = (channels, height if time else 1, width)
        state = hidden + self.label_dim
        self.encoder = encoder(image_shape=step_shape, out_dim=hidden)
        self.decoder = decoder(in_dim=hidden + state, image_shape=self.parameters_shape(step_shape))
        self.latent_features = nn.Sequential(nn.Linear(latent_dim, hidden), nn.SiLU())
        self.prior = nn.Sequential(nn.Linear(state, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent_dim))  # eq. 5
        self.posterior = Posterior(state, hidden, latent_dim)
        self.cell = nn.GRUCell(2 * hidden, hidden)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Run over the steps `samples` times."""
        steps = self.to_steps(images)
        for _ in range(samples):
            noise = torch.randn(*steps.shape[:2], self.latent_dim, device=images.device)
            output, posterior, prior, _ = self.follow(steps, labels, noise)
            log_prob = self.likelihood.log_prob(output, steps.flatten(0, 1)).unflatten(0, steps.shape[:2]).sum(1)
            mean, log_var = posterior.relative_to(prior)  # the KL term is then that of eq. 11
            yield Inference(log_prob, mean.flatten(1), log_var.flatten(1), noise.flatten(1))

    def follow(self, steps: Tensor, labels: Tensor | None, noise: Tensor) -> "Pass":
        """Run over observed steps `(B, T, ...)`, given the noise of their latents `(B, T, latent_dim)`."""
        condition = self.condition(labels)
        state = steps.new_zeros(len(steps), self.hidden)
        features = F.silu(self.encoder(steps.flatten(0, 1))).unflatten(0, steps.shape[:2])
        from_features = self.posterior.seen(features)
        contexts, latents, posteriors = [], [], []
        for t in range(steps.shape[1]):
            context = self.context(state, condition)
            posterior = DiagonalNormal.of(self.posterior(from_features[:, t], context))  # eq. 9
            latent = self.latent_features(posterior.reparameterize(noise[:, t]))
            state = run(self.cell, torch.cat([features[:, t], latent], dim=1), state)  # eq. 7
            contexts.append(context)
            latents.append(latent)
            posteriors.append(posterior)
        context, latent = torch.stack(contexts, dim=1), torch.stack(latents, dim=1)
        output = self.decoder(torch.cat([latent, context], dim=2).flatten(0, 1)).float()  # eq. 6
        means, log_vars = zip(*posteriors, strict=True)
        posterior = DiagonalNormal(torch.stack(means, dim=1), torch.stack(log_vars, dim=1))
        return Pass(output, posterior, DiagonalNormal.of(self.prior(context)), state)

    def context(self, state: Tensor, condition: Tensor | None) -> Tensor:
        """The recurrent state and the label embedding, `(B, hidden + label_dim)`."""
        # Without labels a copy: its gradient is summed before it is added to that of the state.
        return torch.cat([state] if condition is None else [state, condition], dim=1)

    def generate(self, state: Tensor, steps: int, labels: Tensor | None) -> Tensor:
        """The expected value of each further step, given samples of the steps before it."""
        condition, means = self.condition(labels), []
        for _ in range(steps):
            context = self.context(state, condition)
            prior = DiagonalNormal.of(self.prior(context))
            noise = self.temperature * torch.randn_like(prior.mean)
            latent = self.latent_features(prior.reparameterize(noise))
            output = self.decoder(torch.cat([latent, context], dim=1)).float()
            features = F.silu(self.encoder(self.likelihood.sample_at(self.temperature, output)))
            state = run(self.cell, torch.cat([features, latent], dim=1), state)
            means.append(self.likelihood.mean(output))
        return torch.stack(means, dim=1)

    def extend(self, observed: Tensor, steps: int, labels: Tensor | None) -> Tensor:
        """The `steps` steps after observed ones `(B, T, ...)`, T may be 0."""
        labels = self.draw_labels(len(observed)) if labels is None else labels
        state = torch.zeros(len(observed), self.hidden, device=self.device)
        if observed.shape[1]:
            noise = torch.randn(*observed.shape[:2], self.latent_dim, device=self.device)
            state = self.follow(observed, labels, noise).state
        return self.generate(state, steps, labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images or sequences sampled step by step."""
        blank = self.to_steps(torch.empty(n, *self.image_shape, device=self.device))
        return self.to_images(self.extend(blank[:, :0], blank.shape[1], labels))

    def predict(self, context: Tensor, steps: int, labels: Tensor | None = None) -> Tensor:
        """Continue sequences `(B, T, C, H, W)` by `steps` frames."""
        return self.extend(context, steps, labels)

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Keep the first `rows` rows of images and sample the others."""
        given = self.to_steps(images)[:, :rows]
        sampled = self.extend(given, images.shape[2] - rows, labels)
        return self.to_images(torch.cat([given, sampled], dim=1))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The expected value of each step given the posterior's mean and the true steps before it."""
        steps = self.to_steps(self.to_support(images))
        noise = torch.zeros(*steps.shape[:2], self.latent_dim, device=self.device)
        output = self.follow(steps, labels, noise).output
        return self.to_images(self.likelihood.mean(output).unflatten(0, steps.shape[:2]))

    def to_steps(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to their rows `(B, H, C, 1, W)`; sequences unchanged."""
        return images if self.of_frames else images.transpose(1, 2).unsqueeze(3)

    def to_images(self, steps: Tensor) -> Tensor:
        """The inverse of `to_steps`."""
        return steps if self.of_frames else steps.squeeze(3).transpose(1, 2)


class Pass(NamedTuple):
    """One pass over observed steps."""

    output: Tensor  # parameters of the likelihood, (B * T, ...)
    posterior: DiagonalNormal  # of each step's latent, (B, T, latent_dim)
    prior: DiagonalNormal
    state: Tensor  # after the last step, (B, hidden)


class Posterior(nn.Module):
    """q(z | x, h) in two layers; `seen`, the first layer's part for x, is applied to all steps at once."""

    def __init__(self, state: int, hidden: int, latent_dim: int):
        super().__init__()
        self.seen = nn.Linear(hidden, hidden)
        self.state = nn.Linear(state, hidden, bias=False)
        self.out = nn.Linear(hidden, 2 * latent_dim)

    def forward(self, from_features: Tensor, state: Tensor) -> Tensor:
        return self.out(F.silu(from_features + self.state(state)))
