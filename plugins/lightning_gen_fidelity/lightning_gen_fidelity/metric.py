"""torch-fidelity's scores of samples against real images."""

import warnings
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.loader import EvaluationBatches
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import as_channels
from lightning_gen.images import to_uint8
from lightning_gen.metrics.image_metric import SampleMetric
from lightning_gen.utilities.ranks import Ranks
from lightning_gen_fidelity.weights import Weights

Measure = Literal["isc", "fid", "kid", "prc"]
# torch-fidelity's names of results to ours, by measure.
SCORES = {
    "isc": {"inception_score_mean": "is"},
    "fid": {"frechet_inception_distance": "frechet"},
    "kid": {"kernel_inception_distance_mean": "kid"},
    "prc": {"precision": "precision", "recall": "recall"},
}
HIGHER = ("is", "precision", "recall")
CLASSIFIERS = ("inception", "efficientnet_lite0")


class Images(Dataset):
    """Images `(N, C, H, W)`, uint8, as torch-fidelity's data set of RGB images."""

    def __init__(self, images: Tensor):
        self.images = as_channels(images, 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


class TorchFidelity(SampleMetric):
    """`torch_fidelity.calculate_metrics` of the samples and real images of an evaluation.

    Stores the first `max_images` of each in 8 bits; frames of sequences are single images. The first process computes.
    Scores have our names after "torch_fidelity/": only the published Inception weights give one named fid. Extractors
    without logits give no Inception Score.
    """

    quick = False

    samples: list[Tensor]
    sizes: list[Tensor]  # of the batches of samples
    broken: Tensor  # number of samples that are not finite

    def __init__(
        self,
        extractor: str,
        weights: str | None,
        sha256: str | None,
        measures: list[Measure],
        isc_splits: PositiveInt,
        kid_subsets: PositiveInt,
        kid_subset_size: PositiveInt,
        max_images: int,
        batch_size: PositiveInt,
        neighbors: PositiveInt = 3,
        neighbours: PositiveInt | None = None,  # its name in older configs
    ):
        super().__init__()
        if max_images < 2:
            raise UserError(f"metrics.torch_fidelity.max_images={max_images}: give at least 2")
        self.extractor = extractor
        self.weights = Weights(extractor, weights, sha256)
        self.measures = [m for m in measures if m != "isc" or extractor in CLASSIFIERS]
        self.isc_splits = isc_splits
        self.kid_subsets = kid_subsets
        self.kid_subset_size = kid_subset_size
        self.neighbors = neighbours or neighbors
        self.max_images = max_images
        self.batch_size = batch_size
        self.names = {key: self._name(name) for m in self.measures for key, name in SCORES[m].items()}
        ours = {self._name(name): name for m in self.measures for name in SCORES[m].values()}
        self.better = {name: "higher" if score in HIGHER else "lower" for name, score in ours.items()}
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("sizes", [], dist_reduce_fx="cat")
        self.add_state("broken", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._real: tuple[Any, Tensor] | None = None
        self._settings: dict[str, Any] = {}

    def _name(self, score: str) -> str:
        fid = score == "frechet" and self.weights.are_published
        return "torch_fidelity/fid" if fid else f"torch_fidelity/{score}/{self.extractor}"

    def why_not(self, model: Any, data: Any) -> str | None:
        channels = data.image_shape[-3]
        return None if channels in (1, 3, 4) else f"torch-fidelity takes RGB images, not {channels} channels"

    def start(self, data: Any, split: str) -> None:
        self.data, self.split = data, split
        super().start(data, split)

    def update(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Add samples in [-1, 1]; samples that are not finite make all scores NaN."""
        self.broken += (~images.flatten(1).isfinite().all(1)).sum().to(self.broken.device)
        stored = sum(map(len, self.samples))
        self.samples.append(to_uint8(images[: max(0, self.max_images - stored)]).to(self.broken.device))
        self.sizes.append(torch.tensor([len(self.samples[-1])], device=self.broken.device))

    def compute(self) -> dict[str, Tensor]:
        """The scores, as float64 scalars; NaN with too few images."""
        samples = self._in_order()
        scores = Ranks().run_on_first(lambda: self._scores(samples))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}

    def _in_order(self) -> Tensor:
        """The samples in the order of a single process: process r of n drew batches r, r + n, r + 2n, ..."""
        size = Ranks().size
        batches = dim_zero_cat(self.samples).split(dim_zero_cat(self.sizes).tolist())
        shares, start = [], 0
        for rank in range(size):
            length = len(range(rank, len(batches), size))
            shares.append(batches[start : start + length])
            start += length
        ordered = [shares[number % size][number // size] for number in range(len(batches))]
        return torch.cat(ordered)[: self.max_images].cpu()

    def _scores(self, samples: Tensor) -> dict[str, float]:
        real = self._real_images()
        samples, real = (images.flatten(0, -4) for images in (samples, real))  # frames are single images
        min_images = min(len(samples), len(real))
        self._settings = {"n_fake": len(samples), "n_real": len(real)}
        enough = {
            "isc": len(samples) >= self.isc_splits,
            "fid": min_images > 1,
            "kid": min_images > 1,
            "prc": min_images > self.neighbors,
        }
        measures = [measure for measure in self.measures if enough[measure]]
        results = self._calculate(samples, real, measures) if measures and self.broken == 0 else {}
        return {name: results.get(key, torch.nan) for key, name in self.names.items()}

    def _calculate(self, samples: Tensor, real: Tensor, measures: list[Measure]) -> dict[str, float]:
        subset = min(self.kid_subset_size, len(samples), len(real))
        self._settings |= {"kid_subset_size": subset}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return calculate_metrics(
                    input1=Images(samples),
                    input2=Images(real),
                    **dict.fromkeys(measures, True),
                    cuda=self.device.type == "cuda",
                    batch_size=self.batch_size,
                    # One for all measures: their default extractors differ, but would all get the same weights.
                    feature_extractor=self.weights.name,
                    feature_extractor_weights_path=self.weights.as_argument(),
                    isc_splits=self.isc_splits,
                    kid_subsets=self.kid_subsets,
                    kid_subset_size=subset,
                    prc_neighborhood=self.neighbors,
                    save_cpu_ram=True,  # no worker processes
                    cache=False,  # its keys are names, not contents
                    verbose=False,
                )
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            path = self.weights.path
            raise UserError(f"metrics.torch_fidelity.weights={path}: holds the weights of another network") from None

    def _real_images(self) -> Tensor:
        """The first real images of the split in evaluation order, uint8."""
        key = (id(self.data), self.split, self.num_real)
        if self._real is None or self._real[0] != key:
            limit = min(self.max_images, self.num_real or self.max_images)
            source = self.data.sources[self.split]
            batches = EvaluationBatches(source, batch_size=256, limit=limit, binarize=self.data.binarize)
            self._real = key, torch.cat([to_uint8(batch.images) for batch in batches])
        return self._real[1]

    def protocol(self) -> dict[str, Any]:
        """Version and settings of torch-fidelity."""
        return {
            "torch_fidelity": version("torch-fidelity"),
            "extractor": self.weights.name,
            "weights_sha256": self.weights.sha256,
            "isc_splits": self.isc_splits,
            "kid_subsets": self.kid_subsets,
            "neighbors": self.neighbors,
            **self._settings,
        }
