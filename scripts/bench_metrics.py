"""What scoring costs: formulas, whole evaluations and memory, each against what libraries do.

`python scripts/bench_metrics.py [PART] [key=value ...]` prints one JSON line. Parts:

- `formulas` (the default): the Fréchet distance's matrix part, and features an image. `num_features=2048 rounds=3`
- `evaluation`: FID, KID, IS, precision, recall, density and coverage with Inception, in one pass, then with real
  features cached, against torchmetrics' and torch-fidelity's objects one after another. `n=64 rounds=1`
- `memory`: the peak of all feature metrics on `n=50000 num_features=2048`.

Ways are taken in turn and medians compared, so that a busy machine slows all alike.
"""

import hashlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

SETS = "metrics=[frechet,kid,inception_score,precision_recall,density_coverage]"


def main(part: str = "formulas", *settings: str) -> dict[str, Any]:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    given = {key: int(value) for key, _, value in (setting.partition("=") for setting in settings)}
    measured = {"formulas": formulas, "evaluation": evaluation, "memory": memory}[part](**given)
    return {"bench": f"metrics {part}", "torch": torch.__version__, "threads": torch.get_num_threads()} | measured


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# Formulas


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
    """Seconds of each library, its ratio to ours, the scores, and their differences from ours."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from helpers import random_weights

    real, fake = smooth_noise(n, "real"), smooth_noise(n, "fake")
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights.inception(Path(folder, "inception.pth"))
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        extractor = Inception(str(weights), sha256, "tf")
        calls = []
        extractor.register_forward_hook(lambda module, args, output: calls.append(len(output)))
        settings = [f"metrics.kid.subset_size={n}", "metrics.inception_score.splits=1"]
        metrics = build_metrics(compose([SETS, *settings], "evaluate").metrics)
        found: dict[str, dict[str, float]] = {}

        def ours() -> None:
            scored = evaluate(None, Given(real), metrics, {"inception": extractor}, files=Given(fake), batch_size=32)
            found["ours"] = {name.partition("/")[0]: value for name, value in scored.values.items()}

        def first() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                os.environ["LIGHTNING_GEN_CACHE"] = cache
                ours()

        def libraries() -> None:
            found["libraries"] = by_libraries(real, fake, weights)

        os.environ["LIGHTNING_GEN_CACHE"] = str(Path(folder, "kept"))
        ours()
        extracted = sum(calls)
        seconds: dict[str, list[float]] = {"libraries": [], "first": [], "cached": []}
        for _ in range(rounds):
            seconds["libraries"].append(timed(libraries))
            seconds["first"].append(timed(first))
            os.environ["LIGHTNING_GEN_CACHE"] = str(Path(folder, "kept"))
            calls.clear()
            seconds["cached"].append(timed(ours))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    differences = {name: abs(value / found["ours"][name] - 1) for name, value in found["libraries"].items()}
    return {
        "n": n,
        "seconds": {name: round(value, 2) for name, value in medians.items()},
        "libraries_slower_than_first": round(medians["libraries"] / medians["first"], 2),
        "libraries_slower_than_cached": round(medians["libraries"] / medians["cached"], 2),
        "images_extracted": {"first": extracted, "cached": sum(calls)},
        "scores": found["ours"],
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


# Memory


def memory(n: int = 50_000, num_features: int = 2048) -> dict[str, Any]:
    """Peak resident memory in GiB with the features of `n` real and `n` fake images, after each metric; and seconds."""

    class Linear(Inception):
        def __init__(self):
            nn.Module.__init__(self)
            self.num_features, self.name = num_features, "inception"
            self.head = nn.Linear(num_features, 1008).requires_grad_(False)

    real, fake = (
        Features(torch.randn(n, num_features, generator=generator("bench", key)), None, Linear())
        for key in ("real", "fake")
    )
    metrics = build_metrics(compose([SETS], "evaluate").metrics)
    peaks = {"features": peak()}
    seconds = {}
    for name, metric in metrics.items():
        assert isinstance(metric, FeatureMetric)
        metric.update_real(real)
        metric.update_fake(fake)
        seconds[name] = round(timed(metric.compute), 1)
        peaks[name] = peak()
    return {"n": n, "num_features": num_features, "peak_gib": peaks, "seconds": seconds}


def peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
