"""A recurrent network over vectors of frames, with a decoder of what comes next, https://arxiv.org/abs/1502.04681."""

from collections.abc import Callable

from torch import Tensor, nn

from lightning_gen.models.frame_predictor import ScheduledPredictor


class FrameLSTM(ScheduledPredictor):
    """An LSTM of `layers` layers of `hidden` units between two networks.

    `encoder(image_shape, out_dim)` makes a vector of `features` of each frame; the LSTM adds to it what changes, and
    `decoder(in_dim, image_shape)` makes the next frame. Without the addition it would first have to learn to copy.
    """

    averaged_parts = ("encoder", "lstm", "change", "decoder")
    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        features: int,
        hidden: int,
        layers: int,
        **prediction,
    ):
        super().__init__(image_shape, num_classes, **prediction)
        self.encoder = encoder(image_shape=self.frame_shape, out_dim=features)
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True)
        self.change = nn.Linear(hidden, features)
        self.decoder = decoder(in_dim=features, image_shape=self.output_shape)

    def read(self, frames: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        vectors = self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        outputs, state = self.lstm(vectors, state)
        features = vectors + self.change(outputs)
        return self.decoder(features.flatten(0, 1)).float().unflatten(0, frames.shape[:2]), state
