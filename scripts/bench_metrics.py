"""What scoring costs: formulas, whole evaluations and memory, each against what libraries do.

`python scripts/bench_metrics.py [PART] [key=value ...]` prints one JSON line. Parts:

- `formulas` (the default): the Fréchet distance's matrix part, and features an image. `num_features=2048 rounds=3`
- `evaluation`: scores with Inception, for the first time and with real features cached, against two rivals.
  `one_call`: FID, KID, IS, precision and recall by one call of torch-fidelity, which also extracts features once.
  `separate`: these, density and coverage by objects of torchmetrics and torch-fidelity, as their documentation uses
  them, each of which extracts its own. `n=64 rounds=1`
- `parts`: each metric of features, and then its ± from halves of the samples; the peak of memory after each.
  `n=10000 num_features=1280 halves=20`

Seconds are those of the CPU, of all threads together (OMP_NUM_THREADS, by default 1). Ways are taken in turn and
medians compared, so that a busy machine slows all alike.
"""

import hashlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_gen.config.composition import compose
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.evaluation.evaluator import build_metrics, evaluate
from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0
from lightning_gen.extractors.inception import Inception
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import root_of, trace_of_root
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.randomness import generator
from lightning_gen.utilities.heap import keep_freed_memory

FOUR = ("frechet", "kid", "inception_score", "precision_recall")
FIVE = (*FOUR, "density_coverage")
T = TypeVar("T")
FORK = multiprocessing.get_context("fork")
ALL = (*FIVE, "memorization", "mifid", "class_frechet", "diversity")


def main(part: str = "formulas", *settings: str) -> dict[str, Any]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    given = {key: int(value) for key, _, value in (setting.partition("=") for setting in settings)}
    measured = {"formulas": formulas, "evaluation": evaluation, "parts": parts}[part](**given)
    return {"bench": f"metrics {part}", "torch": torch.__version__, "threads": torch.get_num_threads()} | measured


def timed(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


# Formulas


def timed_in_child(function: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of a call in a process of its own, a fork of this one, and its result: each has a heap of its own."""
    receiver, sender = FORK.Pipe(duplex=False)

    def call() -> None:
        start = time.process_time()
        result = function()
        sender.send((time.process_time() - start, result))

    child = FORK.Process(target=call)
    child.start()
    sender.close()
    answer = receiver.recv()
    child.join()
    return answer


def formulas(num_features: int = 2048, rounds: int = 3) -> dict[str, Any]:
    return {
        "num_features": num_features,
        "full_rank": compare(covariances(2 * num_features, num_features), rounds),
        "rank_deficient": compare(covariances(num_features // 4, num_features), rounds),
        "extraction": extraction(rounds),
    }


def covariances(n: int, num_features: int) -> tuple[Tensor, Tensor]:
    return covariance(n, num_features, "real"), covariance(n, num_features, "fake")


def covariance(n: int, num_features: int, key: str) -> Tensor:
    features = torch.randn(n, num_features, dtype=torch.float64, generator=generator("bench", key)).relu()
    return torch.cov(features.T)


def compare(covariances: tuple[Tensor, Tensor], rounds: int) -> dict[str, Any]:
    """Seconds of each formula of Tr((AB)^(1/2)), its ratio to ours, and its value."""
    a, b = covariances
    ways: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: trace_of_root(root_of(a), b),
        "torchmetrics": lambda: torch.linalg.eigvals(a @ b).sqrt().real.sum(),
    }
    try:
        from scipy.linalg import sqrtm

        ways["scipy"] = lambda: torch.tensor(sqrtm((a @ b).numpy()).real.trace())
    except ImportError:
        pass
    values = {name: way().item() for name, way in ways.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        name: {"seconds": round(medians[name], 3), "slower": round(medians[name] / medians["ours"], 2), "trace": value}
        for name, value in values.items()
    }


def extraction(rounds: int, n: int = 64) -> dict[str, Any]:
    """Milliseconds an image, 28x28 gray, by the input size of the extractor."""
    images = torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator("bench", "images"))
    extractors = {size: EfficientNetLite0(size=size) for size in (64, 96, 224)}
    seconds: dict[int, list[float]] = {size: [] for size in extractors}
    for _ in range(rounds + 1):
        for size, extractor in extractors.items():
            seconds[size].append(timed(lambda extractor=extractor: extractor(images)))
    return {f"ms_per_image_at_{size}": round(1000 * statistics.median(s[1:]) / n, 2) for size, s in seconds.items()}


# Whole evaluations


class Given(ImageData):
    """The same images in every split."""

    def __init__(self, images: Tensor):
        super().__init__(
            batch_size=32, seed=0, augment={}, augment_share=1.0, binarize=False, in_memory=True, num_workers=0
        )
        self.images = images
        self.name = "bench"
        self.setup()

    def load(self) -> dict[str, TensorSource]:
        return {split: TensorSource(self.images) for split in ("train", "val", "test")}


def evaluation(n: int = 64, rounds: int = 1) -> dict[str, Any]:
    """Of each rival its seconds, how much slower it is than we are with its scores, and the differences of these."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    # Importing is not timed, loading the weights is.
    import torch_fidelity  # noqa: F401
    from helpers import random_weights

    images = smooth_noise(n, "real"), smooth_noise(n, "fake")
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights.inception(Path(folder, "inception.pth"))
        rivals = {"one_call": (FOUR, by_one_call), "separate": (FIVE, by_libraries)}
        return {"n": n} | {
            name: compare_with(lambda rival=rival: rival(*images, weights), names, images, weights, rounds)
            for name, (names, rival) in rivals.items()
        }


def compare_with(
    rival: Callable[[], dict[str, float]],
    names: Sequence[str],
    images: tuple[Tensor, Tensor],
    weights: Path,
    rounds: int,
) -> dict[str, Any]:
    real, fake = images
    settings = [f"metrics.kid.subset_size={len(real)}", "metrics.inception_score.splits=1"]
    metrics = build_metrics(compose([f"metrics=[{','.join(names)}]", *settings], "evaluate").metrics)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    seconds: dict[str, list[float]] = {"first": [], "cached": [], "rival": []}
    found: dict[str, dict[str, float]] = {}

    def ours() -> dict[str, float]:
        keep_freed_memory()  # as commands do
        given = {"files": Given(fake), "batch_size": 32, "show_progress": False}
        extractors = {"inception": Inception(str(weights), sha256, "tf")}
        scored = evaluate(None, Given(real), metrics, extractors, **given)
        return {name.partition("/")[0]: value for name, value in scored.values.items()}

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["LIGHTNING_GEN_CACHE"] = cache
            for name, way in {"first": ours, "cached": ours, "rival": rival}.items():
                taken, found[name] = timed_in_child(way)
                seconds[name].append(taken)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    differences = {name: abs(value / found["first"][name] - 1) for name, value in found["rival"].items()}
    return {
        "seconds": {name: round(value, 2) for name, value in medians.items()},
        "slower_than_first": round(medians["rival"] / medians["first"], 2),
        "slower_than_cached": round(medians["rival"] / medians["cached"], 2),
        "scores": found["first"],
        "relative_differences": {name: float(f"{value:.1e}") for name, value in differences.items()},
    }


def smooth_noise(n: int, key: str) -> Tensor:
    coarse = torch.rand(n, 3, 8, 8, generator=generator("bench", key))
    fine = nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    return (fine * (255 if key == "real" else 220)).to(torch.uint8)


class AsDataset(torch.utils.data.Dataset):
    """What torch-fidelity takes: uint8 images one by one."""

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def by_one_call(real: Tensor, fake: Tensor, weights: Path) -> dict[str, float]:
    """torch-fidelity's scores from features that it extracts once."""
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        **{"input1": AsDataset(fake), "input2": AsDataset(real), "isc": True, "fid": True, "kid": True, "prc": True},
        **{"isc_splits": 1, "kid_subsets": 1, "kid_subset_size": len(real), "batch_size": 32},
        **{"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": str(weights)},
        **{"cuda": False, "cache": False, "verbose": False, "save_cpu_ram": True},
    )
    return {
        "frechet": found["frechet_inception_distance"],
        "kid": found["kernel_inception_distance_mean"],
        "is": found["inception_score_mean"],
        "precision": found["precision"],
        "recall": found["recall"],
    }


def by_libraries(real: Tensor, fake: Tensor, weights: Path) -> dict[str, float]:
    """The same scores from objects that each extract their own features, as their documentation uses them."""
    from torch_fidelity import calculate_metrics
    from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    def network(layer: str) -> nn.Module:
        return NoTrainInceptionV3("inception-v3-compat", [layer], str(weights), antialias=False)

    fid = FrechetInceptionDistance(feature_extractor_weights_path=str(weights), antialias=False)
    kid = KernelInceptionDistance(feature=network("2048"), subsets=1, subset_size=len(real))
    score = InceptionScore(feature=network("logits_unbiased"), splits=1)
    for metric in (fid, kid):
        for images, is_real in ((real, True), (fake, False)):
            for batch in images.split(32):
                metric.update(batch, real=is_real)
    for batch in fake.split(32):
        score.update(batch)
    prc = calculate_metrics(
        **{"input1": AsDataset(fake), "input2": AsDataset(real), "prc": True, "cuda": False, "cache": False},
        **{"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": str(weights)},
        **{"verbose": False, "save_cpu_ram": True, "batch_size": 32},
    )
    extractor = network("2048")
    real_features, fake_features = (torch.cat([extractor(b) for b in images.split(32)]) for images in (real, fake))
    density, coverage = plain_density_coverage(real_features, fake_features)
    return {
        "frechet": fid.compute().item(),
        "kid": kid.compute()[0].item(),
        "is": score.compute()[0].item(),
        "precision": prc["precision"],
        "recall": prc["recall"],
        "density": density,
        "coverage": coverage,
    }


def plain_density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Equations 4 and 5 of https://arxiv.org/abs/2002.09797, as prdc computes them."""
    real, fake = real.double(), fake.double()
    reach = torch.cdist(real, real).kthvalue(k + 1).values
    inside = torch.cdist(real, fake) <= reach[:, None]
    return (inside.sum() / (k * len(fake))).item(), inside.any(1).double().mean().item()


# Parts of the samples


def parts(n: int = 10_000, num_features: int = 1280, halves: int = 20) -> dict[str, Any]:
    """Seconds of each metric and of its ±, and the peak resident memory in GiB after each, features included."""

    class Linear(Inception):
        def __init__(self):
            nn.Module.__init__(self)
            self.num_features, self.name = num_features, "inception"
            self.head = nn.Linear(num_features, 1008).requires_grad_(False)

    extractor, labels = Linear(), torch.arange(n) % 10
    training, real, fake = (
        Features(torch.randn(n, num_features, generator=generator("bench", key)).relu_(), labels, extractor)
        for key in ("training", "real", "fake")
    )
    orders = [torch.randperm(n, generator=generator("bench", "half", half)) for half in range(halves)]
    chosen = torch.stack(orders)[:, : n // 2]
    metrics = build_metrics(compose([f"metrics=[{','.join(ALL)}]"], "evaluate").metrics)
    peaks, seconds = {"features": peak()}, {}
    for name, metric in metrics.items():
        assert isinstance(metric, FeatureMetric)
        if metric.needs_training_set:
            metric.update_training_set(training)
        seconds[name] = [round(timed(lambda metric=metric: score(metric, real, fake)), 1)]
        seconds[name].append(round(timed(lambda metric=metric: list(metric.compute_parts(fake, chosen))), 1))
        peaks[name] = peak()
    total = round(sum(map(sum, seconds.values())), 1)
    return {"n": n, "num_features": num_features, "peak_gib": peaks, "seconds": seconds, "total": total}


def score(metric: FeatureMetric, real: Features, fake: Features) -> None:
    metric.update_real(real)
    metric.update_fake(fake)
    metric.compute()


def peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
