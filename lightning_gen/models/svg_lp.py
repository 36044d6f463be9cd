"""SVG-LP: frames with a latent each, whose prior is learned from those before, https://arxiv.org/abs/1802.07687."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.models.frame_predictor import FramePredictor
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel, mean_and_log_var
from lightning_gen.networks.lstm import LSTMOutput
from lightning_gen.networks.lstm import State as LSTMState


class State(NamedTuple):
    """Of the networks that are rolled out, the maps that the decoder is given, and how many frames were read."""

    prior: LSTMState | None = None
    predictor: LSTMState | None = None
    skips: list[Tensor] | None = None
    frames: int = 0


class SVGLP(FramePredictor, LatentVariableModel):
    """Trained on the lower bound of whole sequences, which begin after a blank frame: `sample` begins there too.

    `encoder(image_shape, out_dim)` makes a vector of `features` and maps of each frame, LSTMs of `hidden` units read
    the vectors, and `decoder(in_dim, image_shape)` makes the next frame, given maps too: those of the last frame read,
    but none after the context. `predict` draws latents from the prior.
    """

    draws_predictions = True
    averaged_parts = ("encoder", "posterior", "prior", "predictor", "decoder")
    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        features: int,
        latent_dim: int,
        hidden: int,
        **bound,
    ):
        super().__init__(image_shape, num_classes, **bound)
        self.encoder = encoder(image_shape=self.frame_shape, out_dim=features)
        self.posterior = LSTMOutput(features, hidden, 1, 2 * latent_dim)
        self.prior = LSTMOutput(features, hidden, 1, 2 * latent_dim)
        self.predictor = LSTMOutput(features + latent_dim, hidden, 2, features)
        self.decoder = decoder(in_dim=features, image_shape=self.output_shape)

    def inferences(self, images: Tensor, labels: Tensor | None, samples: int) -> Iterator[Inference]:
        """Encode once, draw the latents `samples` times: all steps at once, since every frame is known."""
        vectors, maps = self.look_at(after_blank(images))
        before, shape = vectors[:, :-1], images.shape[:2]
        mean, log_var = mean_and_log_var(self.posterior(vectors[:, 1:])[0])
        prior_mean, prior_log_var = mean_and_log_var(self.prior(before)[0])
        skips = [self.held(each[:, :-1]).flatten(0, 1) for each in maps]
        for _ in range(samples):
            noise = torch.randn_like(mean)
            latent = mean + (0.5 * log_var).exp() * noise
            features = self.predictor(torch.cat([before, latent], dim=2))[0].tanh()
            parameters = self.decoder(features.flatten(0, 1), skips).float().unflatten(0, shape)
            # In units of the prior, the divergence is that of eq. 2.
            centred = (mean - prior_mean) * (-0.5 * prior_log_var).exp()
            relative = log_var - prior_log_var
            yield Inference(
                self.log_prob(parameters, images), centred.flatten(1), relative.flatten(1), noise.flatten(1)
            )

    def read(self, frames: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The context first, which may be empty; then frames one by one."""
        first, state = state is None, state or State()
        seen = state.frames + frames.shape[1]
        vectors, maps = self.look_at(after_blank(frames) if first else frames)
        skips = [each[:, -1] for each in maps] if first or seen <= self.context_frames else state.skips
        outputs, prior = self.prior(vectors, state.prior)
        mean, log_var = mean_and_log_var(outputs)
        if vectors.shape[1] > 1:  # what came after these steps is known, but for the last
            known = mean_and_log_var(self.posterior(vectors[:, 1:])[0])
            mean, log_var = (torch.cat([q, p[:, -1:]], dim=1) for q, p in zip(known, (mean, log_var), strict=True))
        latent = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        features, predictor = self.predictor(torch.cat([vectors, latent], dim=2), state.predictor)
        parameters = self.decoder(features[:, -1].tanh(), skips).float()
        return parameters[:, None], State(prior, predictor, skips, seen)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sequences drawn from their first frame on."""
        nothing = torch.empty(n, 0, *self.frame_shape, device=self.device)
        return self.predict(nothing, self.image_shape[0])

    def look_at(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Vectors `(B, T, features)` and maps `(B, T, C', H', W')` of frames."""
        vectors, maps = self.encoder(frames.flatten(0, 1))
        return vectors.unflatten(0, frames.shape[:2]), [each.unflatten(0, frames.shape[:2]) for each in maps]

    def held(self, maps: Tensor) -> Tensor:
        """Maps of the blank frame and those after it, with the context's last one in place of all that follow."""
        after = maps.shape[1] - self.context_frames
        last = maps[:, self.context_frames, None].expand(-1, after, *maps.shape[2:])
        return torch.cat([maps[:, : self.context_frames], last], dim=1)


def after_blank(frames: Tensor) -> Tensor:
    """Frames with one before them that is as dark as can be."""
    blank = frames.new_full((len(frames), 1, *frames.shape[2:]), -1.0)
    return torch.cat([blank, frames], dim=1)
