"""MoCoGAN: videos of one content and a motion, judged whole and by a frame, https://arxiv.org/abs/1707.04993."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN
from lightning_gen.networks.conditioning import Generator


class MoCoGAN(GAN):
    """A GAN of videos: `generator` makes each frame of the content's latent, `latent_dim` values, and the motion's.

    `discriminator` sees whole videos and `image_discriminator` a random frame of each; penalties are on the former.
    """

    takes_images = False
    takes_sequences = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        image_discriminator: Callable[..., nn.Module],
        motion_dim: int,
        augment: Any,
        **game,
    ):
        if augment:
            raise UserError("model/augment: made for single images, not for videos; use model/augment=none")
        self.make_image_discriminator = image_discriminator
        self.motion_dim = motion_dim
        super().__init__(image_shape, num_classes, augment=None, **game)

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        dims = self.latent_dim + self.motion_dim
        frames = Generator(decoder, dims, self.image_shape[1:], self.num_classes, label_dim, output)
        return VideoGenerator(frames, self.latent_dim, self.motion_dim)

    def make_discriminator(
        self, encoder: Callable[..., nn.Module], conditioning: Callable[..., nn.Module]
    ) -> nn.Module:
        images = conditioning(self.make_image_discriminator, self.image_shape[1:], self.num_classes)
        return VideoAndImageDiscriminator(super().make_discriminator(encoder, conditioning), images)

    def latent(self, n: int) -> Tensor:
        """Draw content, where motion starts, and its noise at each frame: `(n, latent_dim + (1 + T) * motion_dim)`."""
        dims = self.latent_dim + (1 + self.image_shape[0]) * self.motion_dim
        return self.noise(n, dims)

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        of_images = self.loss.discriminator(round.real_output[:, 1], round.fake_output[:, 1])
        return super().discriminator_terms(round) | {"image_discriminator": of_images}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        real = None if round.real_output is None else round.real_output[:, 1]
        return super().generator_terms(round) | {"image_generator": self.loss.generator(real, round.fake_output[:, 1])}


class VideoGenerator(nn.Module):
    """Eq. 2: a recurrent network makes of noise the path of a motion, and `frames` an image of each of its points."""

    def __init__(self, frames: nn.Module, content_dim: int, motion_dim: int):
        super().__init__()
        self.frames = frames
        self.content_dim, self.motion_dim = content_dim, motion_dim
        self.motion = nn.GRU(motion_dim, motion_dim, batch_first=True)

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        content, motion = latent.tensor_split([self.content_dim], dim=1)
        start, noise = motion.unflatten(1, (-1, self.motion_dim)).tensor_split([1], dim=1)
        path, _ = self.motion(noise, start.transpose(0, 1).contiguous())
        points = torch.cat([content[:, None].expand(-1, path.shape[1], -1), path], dim=2)
        labels = None if labels is None else labels.repeat_interleave(path.shape[1])
        return self.frames(points.flatten(0, 1), labels).unflatten(0, path.shape[:2])


class VideoAndImageDiscriminator(nn.Module):
    """The logits `(B, 2)` of videos and of a random frame of each."""

    def __init__(self, videos: nn.Module, images: nn.Module):
        super().__init__()
        self.videos = videos
        self.images = images

    def forward(self, videos: Tensor, labels: Tensor | None = None) -> Tensor:
        each = torch.arange(len(videos), device=videos.device)
        frame = torch.randint(videos.shape[1], each.shape, device=videos.device)
        return torch.cat([self.videos(videos, labels), self.images(videos[each, frame], labels)], dim=1)
