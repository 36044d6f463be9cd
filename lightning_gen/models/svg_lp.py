"""SVG-LP: frames with a latent each, whose prior is predicted from earlier frames, https://arxiv.org/abs/1802.07687."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.models.frame_predictor import FramePredictor
from lightning_gen.models.latent_variable_model import AnyInference, Inference, LatentVariableModel
from lightning_gen.networks.cell_layers import RecurrentMaps
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import LatentPrior
from lightning_gen.networks.lstm import LSTMOutput, LSTMState
from lightning_gen.networks.next_frame import NextFrame


class SVGLP(FramePredictor, LatentVariableModel):
    """The first frame comes from a VAE, each further one from the last frame, recurrent maps and a latent.

    The VAE is `first_encoder(image_shape, out_dim)`, `first_decoder(in_dim, image_shape)` and the `first_prior(dim)` of
    `first_dim` latents. It learns from first frames alone.

    After it, `encoder(image_shape, out_dim)` maps a frame to a vector of `features`, and `hints(in_dim, image_shape)`
    maps `latent_dim` latents to maps, which `NextFrame` reads beside the last frame. An LSTM of `hidden` units over
    features and latents predicts the prior; the posterior reads its state and the features of the last and of the next
    frame.

    The recurrence is of maps, as in https://arxiv.org/abs/1911.01655. Unlike in either paper, frames after the given
    ones are read as they were predicted, in training too, so that errors don't accumulate in use. The number of given
    frames of a sequence, up to `context_frames`, is random in training. `beta` weights the KL term of the latents after
    the first frame, `first_beta` that of the first frame's.
    """

    draws_predictions = True
    averaged_parts = (
        "first_encoder",
        "first_prior",
        "first_decoder",
        "encoder",
        "prior",
        "posterior",
        "hints",
        "next_frame",
    )
    compiled_parts = ("first_encoder", "first_decoder", "encoder", "hints", "next_frame")
    temperature = 1.0

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        first_encoder: Callable[..., nn.Module],
        first_decoder: Callable[..., nn.Module],
        first_prior: Callable[..., LatentPrior],
        encoder: Callable[..., nn.Module],
        hints: Callable[..., nn.Module],
        cells: Callable[..., RecurrentMaps],
        patch_size: PositiveInt,
        out_width: PositiveInt,
        hint_channels: PositiveInt,
        features: PositiveInt,
        first_dim: PositiveInt,
        latent_dim: PositiveInt,
        hidden: PositiveInt,
        first_beta: NonNegativeFloat,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.first_dim = first_dim
        self.latent_dim = latent_dim
        self.first_beta = first_beta
        self.first_encoder = first_encoder(image_shape=self.frame_shape, out_dim=2 * first_dim)
        self.first_prior = first_prior(dim=first_dim)
        if not isinstance(self.first_prior, LatentPrior):
            fix = "choose model/prior@model.first_prior=autoregressive"
            raise UserError(f"model.first_prior: {type(self.first_prior).__name__} is not normal step by step; {fix}")
        parameters_shape = self.parameters_shape(self.frame_shape)
        self.first_decoder = first_decoder(in_dim=first_dim, image_shape=parameters_shape)
        self.encoder = encoder(image_shape=self.frame_shape, out_dim=features)
        self.prior = LSTMOutput(features + latent_dim, hidden, 2 * latent_dim)
        self.posterior = nn.Sequential(
            nn.Linear(2 * features + hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent_dim)
        )
        self.next_frame = NextFrame(
            self.frame_shape,
            parameters_shape[0],
            cells=cells,
            patch_size=patch_size,
            out_width=out_width,
            hints=hint_channels,
        )
        self.hints = hints(in_dim=latent_dim, image_shape=(hint_channels, *self.next_frame.size))

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Sample the latents of sequences `samples` times; in evaluation the whole context is given."""
        n, steps = images.shape[:2]
        for _ in range(samples):
            given = torch.full((n,), self.context_frames, device=images.device)
            if self.training:
                given = torch.randint(self.context_frames + 1, (n,), device=images.device)
            first_noise, noise = self.noise(n, steps)
            parameters, posteriors, priors = self.follow(images, given, first_noise, noise)
            # whitened by the priors, so that the KL term is that of eq. 2
            whitened = [posterior.relative_to(prior) for posterior, prior in zip(posteriors, priors, strict=True)]
            mean, log_var = DiagonalNormal.cat(whitened)
            flat_noise = torch.cat([first_noise, noise.flatten(1)], dim=1)
            log_prob = self.log_prob(parameters, images)
            yield Inference(log_prob=log_prob, mean=mean, log_var=log_var, noise=flat_noise)

    def weighted_kl(self, inference: AnyInference, kl: Tensor) -> Tensor:
        """The KL terms of the first frame's latents and of the others have weights of their own."""
        assert isinstance(inference, Inference)
        first_kl = kl_from_standard_normal(inference.mean[:, : self.first_dim], inference.log_var[:, : self.first_dim])
        return self.first_beta * first_kl + self.scaled_kl(kl - first_kl)

    def follow(
        self, frames: Tensor, given: Tensor, first_noise: Tensor, noise: Tensor
    ) -> tuple[Tensor, list[DiagonalNormal], list[DiagonalNormal]]:
        """Roll out sequences of T frames, of which `frames` `(B, K, C, H, W)` are known, the first `given` `(B,)` read.

        Returns the parameters of all frames, `(B, T, P * C, H, W)`, and posteriors and priors of the latents of known
        frames. Latents are sampled by `first_noise` `(B, first_dim)` and `noise` `(B, T - 1, latent_dim)`.
        """
        rollout = Rollout(self, frames, first_noise)
        for t, step_noise in enumerate(noise.unbind(1), start=1):
            # Gradients of later frames would dominate those of the first frame in the first frame's networks.
            output = rollout.outputs[0].detach() if t == 1 else rollout.outputs[-1]
            frame = self.likelihood.mean(output)
            if t <= frames.shape[1]:
                frame = torch.where((t <= given)[:, None, None, None], frames[:, t - 1], frame)
            rollout.step(frame, t, step_noise)
        return torch.stack(rollout.outputs, dim=1), rollout.posteriors, rollout.priors

    def noise(self, n: int, steps: int) -> tuple[Tensor, Tensor]:
        """Noise of the latents of `n` sequences of `steps` frames; the first ones don't depend on `steps`."""
        first = torch.randn(n, self.first_dim, device=self.device)
        none = torch.empty(n, 0, self.latent_dim, device=self.device)
        later = [torch.randn(n, 1, self.latent_dim, device=self.device) for _ in range(steps - 1)]
        return first, torch.cat([none, *later], dim=1)

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The expected `steps` frames after `context` `(B, T0, C, H, W)`, given samples of all latents."""
        n, known = context.shape[:2]
        given = torch.full((n,), known, device=context.device)
        noise = [self.temperature * part for part in self.noise(n, known + steps)]
        parameters, *_ = self.follow(self.to_support(context), given, *noise)
        return self.mean(parameters[:, -steps:])

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sample sequences from the first frame on."""
        no_context = torch.empty(n, 0, *self.frame_shape, device=self.device)
        return self.predict(no_context, self.image_shape[0])


class Rollout:
    """Frame-by-frame outputs for sequences whose first frames, `frames` `(B, K, C, H, W)`, are known.

    Latents are sampled from the posterior where the frame is known, from the prior elsewhere.
    """

    def __init__(self, model: SVGLP, frames: Tensor, first_noise: Tensor):
        self.model = model
        self.posteriors: list[DiagonalNormal] = []  # of the latents of known frames
        self.priors: list[DiagonalNormal] = []
        self.known_features: tuple[Tensor, ...] = ()  # of each known frame, (B, features)
        if frames.shape[1]:
            self.known_features = model.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).unbind(1)
        self.latent = first_noise.new_zeros(len(first_noise), model.latent_dim)  # of the last frame
        self.lstm_state: LSTMState | None = None
        self.cell_state: Any = None
        self.outputs = [self._first_output(frames, first_noise)]  # parameters of each frame, (B, P * C, H, W)

    def _first_output(self, frames: Tensor, noise: Tensor) -> Tensor:
        """The VAE of the first frame."""
        if not frames.shape[1]:
            latent = self.model.first_prior.sample(noise)
        else:
            posterior = DiagonalNormal.of(self.model.first_encoder(frames[:, 0]))  # q(z_1 | x_1)
            latent = posterior.reparameterize(noise)
            self.posteriors.append(posterior)
            self.priors.append(self.model.first_prior(latent))
        return self.model.first_decoder(latent).float()

    def step(self, frame: Tensor, t: int, noise: Tensor) -> None:
        """Append frame `t`, counted from 0, given the frame before it, which is read, and the noise of its latent."""
        features = self.model.encoder(frame)
        prior_params, self.lstm_state = self.model.prior(
            torch.cat([features, self.latent], dim=1)[:, None], self.lstm_state
        )
        distribution = DiagonalNormal.of(prior_params[:, 0])  # p(z_t | x_{<t}, z_{<t})
        if t < len(self.known_features):
            self.priors.append(distribution)
            hidden = self.lstm_state[0][-1]
            posterior_inputs = torch.cat([self.known_features[t], features, hidden], dim=1)
            distribution = DiagonalNormal.of(self.model.posterior(posterior_inputs))  # q(z_t | x_{<=t}, z_{<t})
            self.posteriors.append(distribution)
        self.latent = distribution.reparameterize(noise)
        latent_maps = self.model.hints(self.latent)
        output, self.cell_state = self.model.next_frame(frame[:, None], self.cell_state, latent_maps[:, None])
        self.outputs.append(output[:, 0])
