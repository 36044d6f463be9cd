"""SVG-LP: frames with a latent each, whose prior is learned from those before, https://arxiv.org/abs/1802.07687."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.models.frame_predictor import FramePredictor
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.lstm import LSTMOutput
from lightning_gen.networks.next_frame import NextFrame


class SVGLP(FramePredictor, LatentVariableModel):
    """The first frame is drawn by a VAE, each further one from the one before, recurrent maps and a latent.

    The VAE is `first_encoder(image_shape, out_dim)`, `first_decoder(in_dim, image_shape)` and the `first_prior(dim)` of
    `first_dim` latents. It learns from first frames alone.

    After it, `encoder(image_shape, out_dim)` makes a vector of `features` of a frame, and `hints(in_dim, image_shape)`
    maps of `latent_dim` latents, which `NextFrame` reads beside the last frame. An LSTM of `hidden` units over vectors
    and latents says the prior; the posterior sees its state and the vectors of the last and of the next frame.

    The recurrence is of maps, as in https://arxiv.org/abs/1911.01655. Unlike in either paper frames that aren't given
    are read as they were drawn, in training too, so that errors don't add up in use. How many frames of a sequence are
    given, up to `context_frames`, is drawn each time. `beta` weighs the divergence of the latents after the first
    frame's, `first_beta` that of those.
    """

    draws_predictions = True
    averaged_parts = (
        *("first_encoder", "first_prior", "first_decoder"),
        *("encoder", "prior", "posterior", "hints", "next_frame"),
    )
    compiled_parts = ("first_encoder", "first_decoder", "encoder", "hints", "next_frame")

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        first_encoder: Callable[..., nn.Module],
        first_decoder: Callable[..., nn.Module],
        first_prior: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        hints: Callable[..., nn.Module],
        cells: Callable[..., nn.Module],
        patch_size: PositiveInt,
        out_width: PositiveInt,
        hint_channels: PositiveInt,
        features: PositiveInt,
        first_dim: PositiveInt,
        latent_dim: PositiveInt,
        hidden: PositiveInt,
        first_beta: NonNegativeFloat,
        **bound,
    ):
        super().__init__(image_shape, num_classes, **bound)
        self.first_dim = first_dim
        self.latent_dim = latent_dim
        self.first_beta = first_beta
        self.first_encoder = first_encoder(image_shape=self.frame_shape, out_dim=2 * first_dim)
        self.first_prior = first_prior(dim=first_dim)
        self.first_decoder = first_decoder(in_dim=first_dim, image_shape=self.output_shape)
        self.encoder = encoder(image_shape=self.frame_shape, out_dim=features)
        self.prior = LSTMOutput(features + latent_dim, hidden, 2 * latent_dim)
        self.posterior = nn.Sequential(
            nn.Linear(2 * features + hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent_dim)
        )
        self.next_frame = NextFrame(
            self.frame_shape,
            self.output_shape[0],
            cells=cells,
            patch_size=patch_size,
            out_width=out_width,
            hints=hint_channels,
        )
        self.hints = hints(in_dim=latent_dim, image_shape=(hint_channels, *self.next_frame.size))

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Draw sequences `samples` times, knowing them; in evaluation the whole context is given."""
        n, steps = images.shape[:2]
        for _ in range(samples):
            given = torch.full((n,), self.context_frames, device=images.device)
            if self.training:
                given = torch.randint(self.context_frames + 1, (n,), device=images.device)
            noise = self.noise(n, steps)
            parameters, posteriors, priors = self.follow(images, given, *noise)
            # In units of the prior, the divergence is that of eq. 2.
            relative = [posterior.relative_to(prior) for posterior, prior in zip(posteriors, priors, strict=True)]
            mean, log_var = (torch.cat(each, dim=1) for each in zip(*relative, strict=True))
            flat = torch.cat([each.flatten(1) for each in noise], dim=1)
            yield Inference(self.log_prob(parameters, images), mean, log_var, flat)

    def weighed_divergence(self, inference: Inference, divergence: Tensor) -> Tensor:
        first = kl_from_standard_normal(inference.mean[:, : self.first_dim], inference.log_var[:, : self.first_dim])
        return self.first_beta * first + self.kl_weight * (divergence - first)

    def follow(
        self, frames: Tensor, given: Tensor, first_noise: Tensor, noise: Tensor
    ) -> tuple[Tensor, list[DiagonalNormal], list[DiagonalNormal]]:
        """Sequences of T frames, of which `frames` `(B, K, C, H, W)` are known, and the first `given` `(B,)` are read.

        Returned are the parameters of all frames, `(B, T, P * C, H, W)`, and posteriors and priors of the known ones'
        latents. All latents are drawn, with `first_noise` `(B, first_dim)` and `noise` `(B, T - 1, latent_dim)`,
        from the posterior where the frame is known.
        """
        known, posteriors, priors = frames.shape[1], [], []
        if known:
            vectors = self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
            posteriors.append(DiagonalNormal.of(self.first_encoder(frames[:, 0])))
            latent = posteriors[0].draw(first_noise)
            priors.append(self.first_prior(latent))
        else:
            latent = self.first_prior.draw(first_noise)
        output = self.first_decoder(latent).float()
        outputs = [output]
        lstm = cells = None
        latent = noise.new_zeros(len(noise), self.latent_dim)
        for t in range(1, noise.shape[1] + 1):
            # What later frames say of the first one's network is far louder than what the first frame does.
            frame = self.likelihood.mean(output.detach() if t == 1 else output)
            if t <= known:
                frame = torch.where((t <= given)[:, None, None, None], frames[:, t - 1], frame)
            vector = self.encoder(frame)
            says, lstm = self.prior(torch.cat([vector, latent], dim=1)[:, None], lstm)
            prior = distribution = DiagonalNormal.of(says[:, 0])
            if t < known:
                seen = torch.cat([vectors[:, t], vector, lstm[0][-1]], dim=1)
                distribution = DiagonalNormal.of(self.posterior(seen))
                posteriors.append(distribution)
                priors.append(prior)
            latent = distribution.draw(noise[:, t - 1])
            output, cells = self.next_frame(frame[:, None], cells, self.hints(latent)[:, None])
            output = output[:, 0]
            outputs.append(output)
        return torch.stack(outputs, dim=1), posteriors, priors

    def noise(self, n: int, steps: int) -> tuple[Tensor, Tensor]:
        """What the latents of sequences of so many frames are drawn with; longer ones begin as shorter ones do."""
        first = torch.randn(n, self.first_dim, device=self.device)
        none = torch.empty(n, 0, self.latent_dim, device=self.device)
        later = [torch.randn(n, 1, self.latent_dim, device=self.device) for _ in range(steps - 1)]
        return first, torch.cat([none, *later], dim=1)

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The expected value of `steps` frames after `context` `(B, T0, C, H, W)`, given the draws of all latents."""
        n, known = context.shape[:2]
        given = torch.full((n,), known, device=context.device)
        parameters, *_ = self.follow(self.observe(context), given, *self.noise(n, known + steps))
        return self.mean(parameters[:, -steps:])

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sequences drawn from their first frame on."""
        nothing = torch.empty(n, 0, *self.frame_shape, device=self.device)
        return self.predict(nothing, self.image_shape[0])
