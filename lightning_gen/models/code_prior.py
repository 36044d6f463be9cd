"""A prior of the codes of a trained autoencoder: the second stage of VQ-VAE, https://arxiv.org/abs/1711.00937, 3.3."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.capabilities import CodeGrid
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import CrossEntropy, Likelihood
from lightning_gen.models.pixel_model import PixelDistribution, pixel_progress
from lightning_gen.models.vqvae import CodeModel
from lightning_gen.networks.code_network import CodeHead, CodeNetwork, as_codes, as_values
from lightning_gen.networks.label_embedding import label_embedding
from lightning_gen.networks.layer_list import LayerList
from lightning_gen.networks.layers import nearest
from lightning_gen.networks.pixel_network import PixelNetwork
from lightning_gen.utilities.autocast import without_autocast

HOW_TO_GIVE_CODES = "give the checkpoint of a model with codes, as model=code_prior codes=outputs/my_vqvae"


class CodeDistribution(PixelDistribution):
    """p(codes) of a grid, position by position, given maps of `context_channels`."""

    head_class = CodeHead

    def __init__(
        self,
        network: Callable[..., PixelNetwork],
        grid: CodeGrid,
        dim: int,
        head_width: int,
        condition_dim: int,
        context_channels: int,
    ):
        codes = CodeNetwork(network, grid, dim, condition_dim, context_channels)
        super().__init__(codes, grid.depth, CrossEntropy(grid.num_codes), head_width)
        self.grid = grid

    def embed(self, values: Tensor) -> Tensor:
        """Vectors `(B, dim, H, W)` of codes, as the context of another grid."""
        assert isinstance(self.network, CodeNetwork)
        return self.network.embed(values)


class GridsDistribution(nn.Module):
    """p(codes) of grids, the coarsest first, each given the one before: https://arxiv.org/abs/1906.00446, 3.2."""

    def __init__(
        self,
        network: Callable[..., PixelNetwork],
        grids: list[CodeGrid],
        dim: int,
        head_width: int,
        condition_dim: int,
    ):
        super().__init__()
        self.levels = LayerList[CodeDistribution](
            CodeDistribution(network, grid, dim, head_width, condition_dim, context_channels=dim if number else 0)
            for number, grid in enumerate(grids)
        )

    def forward(self, codes: list[Tensor], condition: Tensor | None = None) -> Tensor:
        """log p(codes), nats `(B,)`."""
        context, log_probs = None, []
        for number, level in enumerate(self.levels):
            values = as_values(codes[number], level.grid.num_codes)
            log_probs.append(level.likelihood.log_prob(level(values, condition, context), values))
            context = self._context_after(number, values)
        return torch.stack(log_probs).sum(0)

    def sample(
        self,
        codes: list[Tensor],
        rows: list[int],
        condition: Tensor | None = None,
        on_progress: Callable[[int], None] | None = None,
        temperature: float = 1.0,
    ) -> list[Tensor]:
        """Keep the first `rows` rows of codes `(B, depth, H, W)` of each grid, and sample the others."""
        context, sampled = None, []
        for number, level in enumerate(self.levels):
            values = as_values(codes[number], level.grid.num_codes)
            known = torch.zeros(values.shape[2:], dtype=torch.bool)
            known[: rows[number]] = True
            values = level.sample(values, known, condition, context, on_progress, temperature)
            sampled.append(as_codes(values, level.grid.num_codes))
            context = self._context_after(number, values)
        return sampled

    def _context_after(self, number: int, values: Tensor) -> Tensor | None:
        """The vectors of the codes of a grid, at the size of the next one; None after the last."""
        if number + 1 == len(self.levels):
            return None
        grid = self.levels[number + 1].grid
        return nearest(self.levels[number].embed(values), (grid.height, grid.width))


class CodePrior(ImageGenerator):
    """Samples the codes of `codes`, a trained autoencoder that is part of this model, and decodes them.

    In a config `codes` is a checkpoint; training puts its model in its place (training/codes.py), so that a checkpoint
    of this model needs no other. It is not trained further. `network(image_shape, condition_dim, context_channels)` is
    one of a pixel model, over vectors of `code_dim` values; `head_width` hidden units a code turn its features into
    logits. A conditional model gives it a label embedding of `label_dim` values.
    """

    averaged_parts = ("prior", "label_embedding")
    compiled_parts = ("prior",)
    exact_likelihood = True  # a bound, but the codes of an image are no sample: more of them give no tighter one
    temperature = 1.0

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        codes: Callable[..., CodeModel] | str | None,
        network: Callable[..., PixelNetwork],
        code_dim: PositiveInt,
        head_width: PositiveInt,
        label_dim: NonNegativeInt = 16,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        if codes is None or isinstance(codes, str):
            raise UserError(f"model.codes={codes or 'null'}: is read by train alone; {HOW_TO_GIVE_CODES}")
        self.autoencoder = codes(image_shape=image_shape, num_classes=num_classes).requires_grad_(False).eval()
        self.label_embedding = label_embedding(self.num_classes, label_dim)
        condition_dim = label_dim if self.num_classes else 0
        self.prior = GridsDistribution(network, self.autoencoder.grids, code_dim, head_width, condition_dim)
        self.num_codes = sum(grid.depth * grid.height * grid.width for grid in self.autoencoder.grids)  # of an image

    @property
    def likelihood(self) -> Likelihood:
        """Of an image, given its codes."""
        return self.autoencoder.likelihood

    def train(self, mode: bool = True) -> "CodePrior":
        """Training mode for all but the autoencoder, whose codebook would go on adapting."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the autoencoder's likelihood."""
        return self.autoencoder.to_support(images)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood of the codes, in nats per image and in bits per code."""
        codes = self.codes(self.to_support(batch.images))
        nll = -self.prior(codes, self.label_embedding(batch.labels)).mean()
        return {"loss": nll, "bits_per_code": nll.detach() / (math.log(2) * self.num_codes)}

    @torch.no_grad()
    def codes(self, images: Tensor) -> list[Tensor]:
        """The codes `(B, depth, h, w)` of images in the support, the same in any precision of training."""
        with without_autocast(images.device):
            return self.autoencoder.codes(images)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the lower bound log p(x | z) + log p(z), z the codes of x, for any number of `samples`."""
        codes = self.codes(images)
        given_codes = self.likelihood.log_prob(self.autoencoder.decoder_output(codes), images)
        return given_codes + self.prior(codes, self.label_embedding(labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode the codes of images."""
        return self.autoencoder.reconstruct(images)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sample codes from the first position to the last, and decode them."""
        blank = [torch.zeros(n, *grid[:3], dtype=torch.long, device=self.device) for grid in self.autoencoder.grids]
        return self.autoencoder.decode_codes(self._sampled(blank, [0] * len(blank), labels))

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Keep the first `rows` rows of images `(B, C, H, W)`, and sample the codes of the rows below.

        Codes of the rows above are those of an image that goes on as its last given row.
        """
        images = images.clone()
        images[..., rows:, :] = images[..., rows - 1 : rows, :] if rows else -1.0
        given_rows = [rows * grid.height // images.shape[-2] for grid in self.autoencoder.grids]
        completed = self.autoencoder.decode_codes(self._sampled(self.codes(images), given_rows, labels))
        completed[..., :rows, :] = images[..., :rows, :]
        return completed

    def _sampled(self, codes: list[Tensor], rows: list[int], labels: Tensor | None) -> list[Tensor]:
        n = len(codes[0])
        labels = self.draw_labels(n) if labels is None else labels
        positions = sum(grid.height * grid.width for grid in self.autoencoder.grids)
        condition = self.label_embedding(labels)
        return self.prior.sample(codes, rows, condition, pixel_progress(self, n, positions), self.temperature)
