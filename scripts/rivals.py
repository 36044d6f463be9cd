"""Training loops of others around our networks, to be timed beside ours: Lightning's defaults, pythae, torchgan.

Each function trains a model of ours for the batches that `Laps` counts; its own loop, logging, loader and optimizers.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from loops import Finished, Laps
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from lightning_gen.batch import Batch
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.penalties import logits_of
from lightning_gen.models.gan import GAN
from lightning_gen.models.vae import VAE
from lightning_gen.networks.diagonal_normal import DiagonalNormal


class CountedLoader(DataLoader):
    """A loader of images and labels whose batches `laps` counts."""

    laps: Laps

    def __iter__(self) -> Any:
        return self.laps.over(super().__iter__())


def loader_of(data: ImageData, laps: Laps) -> CountedLoader:
    """Random batches of float images in [-1, 1] and labels, as many as `laps` counts."""
    images = floats(data)
    dataset = TensorDataset(images, torch.zeros(len(images), dtype=torch.long))
    sampler = RandomSampler(dataset, replacement=True, num_samples=laps.number * data.batch_size)
    loader = CountedLoader(dataset, data.batch_size, sampler=sampler)
    loader.laps = laps
    return loader


def floats(data: ImageData) -> Tensor:
    """All training images, in [-1, 1]."""
    source = data.sources["train"]
    assert isinstance(source, TensorSource)
    assert isinstance(source.images, Tensor)
    return source.images.float() / 127.5 - 1


class AsLightningModule(LightningModule):
    """A model of one player under automatic optimization, with all its terms logged."""

    def __init__(self, model: ImageGenerator):
        super().__init__()
        self.model = model

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        terms = self.model.losses(Batch(batch[0], None))
        self.log_dict(terms, prog_bar=True)
        return terms["loss"]

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class GANAsLightningModule(LightningModule):
    """A GAN as in Lightning's documentation: manual optimization, toggled optimizers."""

    model: GAN

    def __init__(self, model: GAN):
        super().__init__()
        self.model = model
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], index: int) -> None:
        model, real = self.model, batch[0]
        optimizers: Any = self.optimizers()
        self.toggle_optimizer(optimizers[0])
        fake = model.generator(model.latent(len(real)))
        self.minimize(optimizers[0], "generator", model.loss.generator(None, self.logits(fake)))
        self.toggle_optimizer(optimizers[1])
        fake = model.generator(model.latent(len(real))).detach()
        self.minimize(optimizers[1], "discriminator", model.loss.discriminator(self.logits(real), self.logits(fake)))

    def minimize(self, optimizer: Any, name: str, loss: Tensor) -> None:
        self.log(name, loss, prog_bar=True)
        self.manual_backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        self.untoggle_optimizer(optimizer)

    def logits(self, images: Tensor) -> Tensor:
        return logits_of(self.model.discriminator(images, None))

    def configure_optimizers(self) -> Any:
        players = self.model.generator, self.model.discriminator
        return [torch.optim.Adam(player.parameters(), lr=2e-4, betas=(0.5, 0.99)) for player in players]


def lightning(model: ImageGenerator, data: ImageData, laps: Laps) -> None:
    """Lightning's Trainer with its defaults: progress bar, logger, checkpoints."""
    module = GANAsLightningModule(model) if isinstance(model, GAN) else AsLightningModule(model)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(max_epochs=1, accelerator="cpu", default_root_dir=folder).fit(module, loader_of(data, laps))


def pythae(model: VAE, data: ImageData, laps: Laps) -> None:
    """pythae's trainer around the encoder and decoder of a VAE."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as TheirVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.network = model  # with the parameters of the decoder

        def forward(self, images):
            posterior = cast(DiagonalNormal, model.posterior(images, None))
            return ModelOutput(embedding=posterior.mean, log_covariance=posterior.log_var)

    class Decoder(BaseDecoder):
        def forward(self, latent):
            return ModelOutput(reconstruction=model.decoder_output(latent, None).sigmoid())

    sizes = {"input_dim": data.image_shape, "latent_dim": model.latent_dim, "reconstruction_loss": "bce"}
    images = (floats(data) + 1) / 2
    images = images[torch.randint(len(images), (laps.number * data.batch_size,))]
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=1, per_device_train_batch_size=data.batch_size, no_cuda=True
        )
        dataset = BaseDataset(images, torch.zeros(len(images)))
        trainer = BaseTrainer(TheirVAE(VAEConfig(**sizes), Encoder(), Decoder()), dataset, training_config=config)
        trainer.prepare_training()
        trainer.train_loader.__class__ = CountedLoader
        trainer.train_loader.laps = laps
        trainer.train_step(1)


def torchgan(model: GAN, data: ImageData, laps: Laps) -> None:
    """torchgan's trainer around the players of a GAN, with the non-saturating loss."""
    from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss
    from torchgan.models import Discriminator, Generator
    from torchgan.trainer import Trainer as TheirTrainer

    class TheirGenerator(Generator):
        def __init__(self, encoding_dims):
            super().__init__(encoding_dims)
            self.network = model.generator

        def forward(self, latent):
            return self.network(latent)

    class TheirDiscriminator(Discriminator):
        def __init__(self, input_dims):
            super().__init__(input_dims)
            self.network = model.discriminator

        def forward(self, images):
            return logits_of(self.network(images, None))

    optimizer = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.99)}}
    players = {
        "generator": {"name": TheirGenerator, "args": {"encoding_dims": model.latent(1).shape[1]}},
        "discriminator": {"name": TheirDiscriminator, "args": {"input_dims": data.image_shape[0]}},
    }
    with in_new_folder():
        trainer = TheirTrainer(
            {name: player | {"optimizer": optimizer} for name, player in players.items()},
            [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
            device=torch.device("cpu"),
            epochs=1,
        )
        trainer(loader_of(data, laps))  # calling it takes the loader's batch size, `train` would generate other batches


@contextlib.contextmanager
def in_new_folder() -> Iterator[None]:
    """Within it the working folder is a temporary one, for what libraries leave there."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


RIVALS: Mapping[str, tuple[Callable[[Any, ImageData, Laps], None], type]] = {
    "lightning": (lightning, ImageGenerator),
    "pythae": (pythae, VAE),
    "torchgan": (torchgan, GAN),
}


def rivals_of(model: ImageGenerator) -> tuple[dict[str, Callable[..., None]], list[str]]:
    """The rivals that can train a model, by name, and those that can but are not installed."""
    suited = {name: train for name, (train, kind) in RIVALS.items() if isinstance(model, kind)}
    missing = [name for name in suited if find_spec(name) is None]
    return {name: train for name, train in suited.items() if name not in missing}, missing


def quietly(train: Callable[..., None], model: ImageGenerator, data: ImageData, laps: Laps) -> None:
    """Train until the last lap, without what the loop prints."""
    with (
        contextlib.suppress(Finished),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        train(model, data, laps)
