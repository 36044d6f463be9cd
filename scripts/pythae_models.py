"""pythae's models as a user writes them, and each library's networks in models of the other, to score both by both."""

import logging
import tempfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from pythae.data.datasets import BaseDataset, DatasetOutput
from pythae.models import (
    IWAE,
    VAE,
    VAE_IAF,
    VAMP,
    VQVAE,
    IWAEConfig,
    VAE_IAF_Config,
    VAEConfig,
    VAMPConfig,
    VQVAEConfig,
)
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.grid import GridDecoder, GridEncoder
from lightning_gen.networks.posterior import PosteriorFamily
from lightning_gen.networks.posterior_flows import FlowPosterior

logging.getLogger("pythae").setLevel(logging.ERROR)

# What a user of pythae writes.


class Binarized(BaseDataset):
    """Gray images whose pixels are drawn anew each time."""

    def __getitem__(self, index: int) -> DatasetOutput:
        return DatasetOutput(data=torch.bernoulli(self.data[index]), labels=self.labels[index])


class Encoder(BaseEncoder):
    """A convolutional encoder of a grid of vectors."""

    def __init__(self, dim: int, width: int, stride: int):
        super().__init__()
        self.network = GridEncoder((1, 28, 28), dim, stride, width=width)

    def forward(self, images: Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.network(images))


class Decoder(BaseDecoder):
    """A convolutional decoder of a grid of vectors."""

    def __init__(self, dim: int, width: int, stride: int):
        super().__init__()
        self.network = GridDecoder(dim, 1, stride, width=width)

    def forward(self, latents: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(latents))


def vae(**sizes: Any) -> VAE:
    return VAE(VAEConfig(**sizes))


def iwae(**sizes: Any) -> IWAE:
    return IWAE(IWAEConfig(number_samples=5, **sizes))


def vamp(**sizes: Any) -> VAMP:
    return VAMP(VAMPConfig(number_components=50, **sizes))


def iaf(**sizes: Any) -> VAE_IAF:
    return VAE_IAF(VAE_IAF_Config(n_made_blocks=2, n_hidden_in_made=1, hidden_size=256, **sizes))


def vqvae(dim: int = 16, width: int = 8, stride: int = 4) -> VQVAE:
    config = VQVAEConfig(input_dim=(1, 28, 28), latent_dim=dim, num_embeddings=64, use_ema=True)
    return VQVAE(config, Encoder(dim, width, stride), Decoder(dim, width, stride))


def train(model: Any, dataset: BaseDataset, epochs: int, rate: float, seed: int, callback: TrainingCallback) -> Any:
    """The model with the lowest training loss, as without a validation set."""
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, learning_rate=rate, per_device_train_batch_size=64, seed=seed
        )
        trainer = BaseTrainer(model, dataset, training_config=config, callbacks=[callback])
        trainer.train()
    return trainer._best_model.eval()


# Each library's networks in models of the other.


class Theirs(nn.Module):
    """pythae's encoder as one of ours: images in [-1, 1] to means and log-variances `(B, 2 * d)`."""

    def __init__(self, model: VAE):
        super().__init__()
        self.encoder = model.encoder

    def forward(self, images: Tensor) -> Tensor:
        output = self.encoder((images + 1) / 2)
        return torch.cat([output.embedding, output.log_covariance], 1)


class TheirsDecoding(nn.Module):
    """pythae's decoder as one of ours: vectors to logits."""

    def __init__(self, model: VAE):
        super().__init__()
        self.decoder = model.decoder

    def forward(self, latents: Tensor) -> Tensor:
        return self.decoder(latents).reconstruction.double().logit(1e-12)


class TheirFlow(PosteriorFamily):
    """pythae's inverse autoregressive flow as a posterior of ours."""

    def __init__(self, dim: int, flow: Any):
        super().__init__(dim)
        self.flow: Any = flow

    def forward(self, output: Tensor) -> FlowPosterior:
        return FlowPosterior(DiagonalNormal.of(output), [self.transform])

    def transform(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        moved = self.flow.inverse(latents)
        return moved.out, moved.log_abs_det_jac


def put_theirs_into(ours: Any, theirs: Any) -> None:
    """Our VAE `ours` then has the networks, the flow and the pseudo-inputs of `theirs`."""
    ours.encoder, ours.decoder = Theirs(theirs), TheirsDecoding(theirs)
    if isinstance(theirs, VAE_IAF):
        ours.posterior_family = TheirFlow(ours.latent_dim, theirs.iaf_flow)
    if isinstance(theirs, VAMP):
        pseudo_inputs = theirs.pseudo_inputs(theirs.idle_input).view(-1, *ours.image_shape)
        ours.prior.images = nn.Parameter((2 * pseudo_inputs - 1).clamp(-1 + 1e-6, 1 - 1e-6).atanh())


class Ours(BaseEncoder):
    """Our encoder as one of pythae's; a flow's steps are kept until it is called."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model
        self.transforms: list[Callable] = []

    def forward(self, images: Tensor) -> ModelOutput:
        posterior = self.model.posterior(images * 2 - 1, None)
        if isinstance(posterior, FlowPosterior):
            posterior, self.transforms = posterior.base, posterior.transforms
        return ModelOutput(embedding=posterior.mean, log_covariance=posterior.log_var)

    def inverse(self, latents: Tensor) -> Any:
        log_dets = latents.new_zeros(len(latents))
        for transform in self.transforms:
            latents, log_det = transform(latents)
            log_dets = log_dets + log_det
        return SimpleNamespace(out=latents, log_abs_det_jac=log_dets)


class OursDecoding(BaseDecoder):
    """Our decoder as one of pythae's: vectors to probabilities."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.model.decoder_output(latents, None).sigmoid())


def put_ours_into(theirs: Any, ours: Any) -> None:
    """The reverse of `put_theirs_into`."""
    theirs.encoder, theirs.decoder = Ours(ours), OursDecoding(ours)
    if isinstance(theirs, VAE_IAF):
        theirs.iaf_flow.inverse = theirs.encoder.inverse
    if isinstance(theirs, VAMP):
        theirs.pseudo_inputs.forward = lambda _: (ours.prior.images.tanh() + 1) / 2
