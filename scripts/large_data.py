"""The starts of a large folder of images, for `bench_data.py --files N`: CPU seconds, memory, shared pages, images/s.

Each start is a process of its own. `CPU seconds` are those of the data alone, from the config to the first batch.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightning_gen.cli.commands import convert
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data

SIDE, CLASSES, BATCH_SIZE = 64, 10, 128
FEW = 64  # files, of a folder to compare memory with


def report(files: int, folder: Path | None) -> dict[str, Any]:
    """Measure the starts of `files` PNGs in `folder`, which are drawn if there is none."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pictures = draw(folder or work / "pictures", files)
        config = compose([f"data.path={pictures}", f"data.size={SIDE}", f"out={work / 'shards'}"], "convert")
        config.data.channels = 3
        with redirect_stdout(sys.stderr):
            convert.run(Job(config, [], []))
        starts = {
            "plain": start("folder", pictures, "false", work),
            "first": start("folder", pictures, "true", work),
            "second": start("folder", pictures, "true", work),
            "shards_first": start("shards", work / "shards", "true", work),
            "shards_second": start("shards", work / "shards", "true", work),
            "shards_decoding": start("shards", work / "shards", "false", work, "data.in_memory=false"),
        }
        few = start("folder", draw(work / "few", FEW), "true", work)
        ranks = together("folder", pictures, work)
    facts: dict[str, Any] = {f"{name}_cpu_seconds": round(facts["cpu"], 2) for name, facts in starts.items()}
    facts |= {f"{name}_images_per_second": round(facts["images_per_second"]) for name, facts in starts.items()}
    growth = {name: (starts[name]["anonymous"] - few["anonymous"]) / files for name in ("plain", "second")}
    facts |= {f"{name}_bytes_a_file": round(value) for name, value in growth.items()}
    facts["two_ranks_mib"] = {name: [round(rank[name] / 2**20) for rank in ranks] for name in ("rss", "pss")}
    return {"bench": "large_data", "files": files, "pixels_mib": round(files * 3 * SIDE**2 / 2**20), **facts}


def draw(folder: Path, files: int) -> Path:
    """`files` PNGs in folders of classes, unless the folder is there."""
    if folder.exists():
        return folder
    draws = np.random.default_rng(0)
    for number in range(files):
        path = folder / f"class_{number % CLASSES}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draws.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(path, compress_level=1)
    return folder


def start(name: str, path: Path, cache: str, work: Path, *overrides: str) -> dict[str, float]:
    """The facts of one process that loads the data."""
    return finished(process(name, path, cache, work, *overrides))


def together(name: str, path: Path, work: Path) -> list[dict[str, float]]:
    """The facts of two processes that have read all images, each while the other has them too."""
    ranks = [process(name, path, "true", work, "whole") for _ in range(2)]
    for rank in ranks:
        ask(rank)  # it has read all
    facts = [json.loads(ask(rank)) for rank in ranks]
    for rank in ranks:
        rank.communicate("\n")
    return facts


def ask(rank: subprocess.Popen[str]) -> str:
    """The next line of a process that waits for a line before each."""
    assert rank.stdin is not None
    assert rank.stdout is not None
    rank.stdin.write("\n")
    rank.stdin.flush()
    return rank.stdout.readline()


def process(name: str, path: Path, cache: str, work: Path, *overrides: str) -> subprocess.Popen[str]:
    keys = [f"data={name}", f"data.path={path}", f"data.cache={cache}", f"data.cache_dir={work / 'cache'}"]
    words = [sys.executable, __file__, *keys, f"data.batch_size={BATCH_SIZE}", "data.num_workers=0", *overrides]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finished(child: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = child.communicate()
    return json.loads(out.splitlines()[-1])


def memory() -> dict[str, int]:
    """Bytes of this process: all pages, its share of them, and those that no file backs."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    kilobytes = {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return {name.lower(): kilobytes[name] * 1024 for name in ("Rss", "Pss", "Anonymous")}


def main(overrides: list[str]) -> None:
    """What a process does: load the data, draw some batches, or with `whole` read all and wait; print the facts."""
    whole = "whole" in overrides
    config = compose([word for word in overrides if word != "whole"], "inspect").data
    begin = time.process_time()
    data = build_data(config)
    batches = (batch for call in data.train_dataloader() for batch in call)
    next(batches)
    facts: dict[str, float] = {"cpu": time.process_time() - begin, "anonymous": memory()["anonymous"]}
    count = len(data.sources["train"]) // BATCH_SIZE if whole else 20
    begin = time.process_time()
    for _ in range(count):
        next(batches)
    facts["images_per_second"] = count * BATCH_SIZE / (time.process_time() - begin)
    if whole:  # in step with the other process
        sys.stdin.readline()
        print("read", flush=True)
        sys.stdin.readline()
    print(json.dumps(facts | {name: value for name, value in memory().items() if name != "anonymous"}), flush=True)
    if whole:
        sys.stdin.readline()


if __name__ == "__main__":
    main(sys.argv[1:])
