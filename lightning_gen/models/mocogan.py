"""MoCoGAN: videos from a content and a motion code, https://arxiv.org/abs/1707.04993."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN
from lightning_gen.networks.moving_content import MovingContent
from lightning_gen.networks.players import OUTPUTS, Generator
from lightning_gen.networks.recurrent import run


class MoCoGAN(GAN):
    """A GAN of videos, with discriminators of whole videos and, `image_discriminator`, of a random frame of each.

    `generator` maps the content latent, of size `latent_dim`, and the motion code to each frame, and so may mix content
    and motion. With `content_maps` it maps the content to this number of feature maps, and motion only translates them.
    Penalties are on the video discriminator.
    """

    takes_images = False
    takes_sequences = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        image_discriminator: Callable[..., nn.Module],
        motion_dim: PositiveInt,
        content_maps: PositiveInt | None,
        augment: nn.Module | dict | None,
        **gan,
    ):
        if augment:
            raise UserError("model/augment: made for single images, not for videos; use model/augment=none")
        self.make_image_discriminator = image_discriminator
        self.motion_dim = motion_dim
        self.content_maps = content_maps
        super().__init__(image_shape, num_classes, augment=None, **gan)

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        channels, *size = self.image_shape[1:]

        def image_generator(latent_dim: int, channels: int, output: str) -> Generator:
            return Generator(decoder, latent_dim, (channels, *size), self.num_classes, label_dim, output)

        if self.content_maps is None:
            frames = image_generator(self.latent_dim + self.motion_dim, channels, output)
            return VideoGenerator(self.latent_dim, self.motion_dim, frames)
        content = image_generator(self.latent_dim, self.content_maps, "none")
        moving = MovingContent(self.content_maps, channels, self.motion_dim)
        return MovingContentGenerator(self.latent_dim, self.motion_dim, content, moving, OUTPUTS[output])

    def make_discriminator(
        self, encoder: Callable[..., nn.Module], conditioning: Callable[..., nn.Module]
    ) -> nn.Module:
        images = conditioning(self.make_image_discriminator, self.image_shape[1:], self.num_classes)
        return VideoAndImageDiscriminator(super().make_discriminator(encoder, conditioning), images)

    def latent(self, n: int) -> Tensor:
        """Content, initial state of the motion, its noise per frame: `(n, latent_dim + (1 + T) * motion_dim)`."""
        dim = self.latent_dim + (1 + self.image_shape[0]) * self.motion_dim
        return self.noise(n, dim)

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        image_term = self.loss.discriminator(round.output("real")[:, 1], round.output("fake")[:, 1])
        return super().discriminator_terms(round) | {"image_discriminator": image_term}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        real = None if round.real_output is None else round.real_output[:, 1]
        image_term = self.loss.generator(real, round.output("fake")[:, 1])
        return super().generator_terms(round) | {"image_generator": image_term}


class Motion(nn.Module):
    """Base of video generators: a recurrent network maps noise to a path of motion codes, eq. 2."""

    def __init__(self, content_dim: int, motion_dim: int):
        super().__init__()
        self.content_dim, self.motion_dim = content_dim, motion_dim
        self.motion = nn.GRU(motion_dim, motion_dim, batch_first=True)

    def content_and_path(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Latents to contents `(B, content_dim)` and motion codes `(B, T, motion_dim)`."""
        content, motion = latent.tensor_split([self.content_dim], dim=1)
        start, noise = motion.unflatten(1, (-1, self.motion_dim)).tensor_split([1], dim=1)
        # Only penalties on the images' slope by the latents let these require gradients in training.
        path, _ = run(self.motion, noise, start.transpose(0, 1).contiguous(), differentiable_twice=latent.requires_grad)
        return content, path


class VideoGenerator(Motion):
    """The paper's generator: `frames` maps the content and each motion code to a frame."""

    def __init__(self, content_dim: int, motion_dim: int, frames: nn.Module):
        super().__init__(content_dim, motion_dim)
        self.frames = frames

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        content, path = self.content_and_path(latent)
        codes = torch.cat([content[:, None].expand(-1, path.shape[1], -1), path], dim=2)
        labels = None if labels is None else labels.repeat_interleave(path.shape[1])
        return self.frames(codes.flatten(0, 1), labels).unflatten(0, path.shape[:2])


class MovingContentGenerator(Motion):
    """`content` maps the content to feature maps, and `moving` these and the path to frames."""

    def __init__(
        self,
        content_dim: int,
        motion_dim: int,
        content: nn.Module,
        moving: MovingContent,
        output: Callable[[Tensor], Tensor],
    ):
        super().__init__(content_dim, motion_dim)
        self.content, self.moving, self.output = content, moving, output
        with torch.no_grad():
            update_bias = self.motion.get_parameter("bias_ih_l0")[motion_dim : 2 * motion_dim]
            update_bias += 2  # keeps the state, so that initial motions are steady

    def forward(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        content, path = self.content_and_path(latent)
        return self.output(self.moving(self.content(content, labels).relu(), path).float())


class VideoAndImageDiscriminator(nn.Module):
    """Logits `(B, 2)` of videos and of a random frame of each."""

    def __init__(self, videos: nn.Module, images: nn.Module):
        super().__init__()
        self.videos = videos
        self.images = images

    def forward(self, videos: Tensor, labels: Tensor | None = None) -> Tensor:
        rows = torch.arange(len(videos), device=videos.device)
        frames = torch.randint(videos.shape[1], rows.shape, device=videos.device)
        return torch.cat([self.videos(videos, labels), self.images(videos[rows, frames], labels)], dim=1)
