"""What scoring costs: features an image, and the Fréchet distance's matrix part against other formulas.

Prints one JSON line: `python scripts/bench_metrics.py [num_features] [rounds]`. Formulas are taken in turn and their
medians compared, so that a busy machine slows all alike.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0
from lightning_gen.metrics.frechet import root_of, trace_of_root
from lightning_gen.randomness import generator


def main(num_features: int = 2048, rounds: int = 3) -> dict[str, Any]:
    torch.set_num_threads(1)
    full = [covariance(2 * num_features, num_features, key) for key in ("real", "fake")]
    deficient = [covariance(num_features // 4, num_features, key) for key in ("real", "fake")]
    return {
        "bench": "metrics",
        "torch": torch.__version__,
        "threads": 1,
        "num_features": num_features,
        "full_rank": compare(*full, rounds),
        "rank_deficient": compare(*deficient, rounds),
        "extraction": extraction(rounds),
    }


def covariance(n: int, num_features: int, key: str) -> Tensor:
    features = torch.randn(n, num_features, dtype=torch.float64, generator=generator("bench", key)).relu()
    return torch.cov(features.T)


def compare(a: Tensor, b: Tensor, rounds: int) -> dict[str, Any]:
    """Seconds of each formula of Tr((AB)^(1/2)), how many times slower than ours, and what it gives."""
    formulas: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: trace_of_root(root_of(a), b),
        "torchmetrics": lambda: torch.linalg.eigvals(a @ b).sqrt().real.sum(),
    }
    try:
        from scipy.linalg import sqrtm

        formulas["scipy"] = lambda: torch.tensor(sqrtm((a @ b).numpy()).real.trace())
    except ImportError:
        pass
    values = {name: formula().item() for name, formula in formulas.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in formulas}
    for _ in range(rounds):
        for name, formula in formulas.items():
            seconds[name].append(timed(formula))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        name: {"seconds": round(medians[name], 3), "slower": round(medians[name] / medians["ours"], 2), "trace": value}
        for name, value in values.items()
    }


def extraction(rounds: int, n: int = 64) -> dict[str, Any]:
    """Milliseconds an image, 28x28 grey, by the input size of the extractor."""
    images = torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator("bench", "images"))
    extractors = {size: EfficientNetLite0(size=size) for size in (64, 96, 224)}
    seconds: dict[int, list[float]] = {size: [] for size in extractors}
    for _ in range(rounds + 1):
        for size, extractor in extractors.items():
            seconds[size].append(timed(lambda extractor=extractor: extractor(images)))
    return {f"ms_per_image_at_{size}": round(1000 * statistics.median(s[1:]) / n, 2) for size, s in seconds.items()}


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))))
