"""What `lightning-gen view` takes over many runs: `python scripts/bench_view.py [runs] [pictures]`, by default 200 50.

Writes run folders of plain files, serves them with the command in a process of its own, and opens the table, the small
pictures of all its rows, each page of a run and a comparison of six runs, as a browser does. Prints one JSON line:
`first_page_seconds` (wall, bar: 2), `cpu_seconds` of the server from the first page to the last, and its memory in MiB
after the table and at its peak (bar: 500).
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
REPORTS = 20


def main(runs: int = 200, pictures: int = 50) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            write_run(Path(folder, f"run_{number:03}"), number, pictures)
        with serving(folder) as (process, address):
            figures = measured(process.pid, address)
    print(json.dumps({"bench": "view", "runs": runs, "pictures": pictures} | figures))


def write_run(folder: Path, number: int, pictures: int) -> None:
    """A run folder as a training leaves it, with pictures of noise."""
    (folder / "samples").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/best.ckpt").touch()
    options = ["model=vae", "data=mnist5k", f"seed={number}"]
    config = {"options": options, "seed": number, "run_dir": str(folder), "model": {"latent_dim": 8 + number % 3}}
    (folder / "config.yaml").write_text(json.dumps(config))
    start = {"started": f"2026-01-01T10:{number % 60:02}:00", "outcome": "finished", "options": options}
    (folder / "environment.json").write_text(json.dumps([start]))
    (folder / "evaluation.json").write_text(json.dumps([evaluation(1 / (1 + number))]))
    rows = "".join(f"{1000 * step},{1 / (1 + step)}\n" for step in range(1000))
    (folder / "metrics.csv").write_text("images,val/loss\n" + rows)
    for step in range(pictures):
        image = Image.frombytes("L", (112, 112), os.urandom(112 * 112))
        image.save(folder / f"samples/samples_{1000 * step:010}.png", compress_level=0)


def evaluation(score: float) -> dict[str, Any]:
    """An entry of evaluation.json."""
    origin = {"metric": "kid", "extractor": None, "of_samples": False, "splits": ["test"]}
    protocol = {"data": "mnist5k", "split": "test", "images": {"test": "0"}, "binarize": False}
    protocol |= {"n_real": 8, "n_fake": 0, "extractors": {}, "metrics": {}, "versions": {}}
    scores = {"scores": {"kid": score}, "better": {"kid": "lower"}, "origin": {"kid": origin}, "uncertainty": {}}
    return scores | {"protocol": protocol, "time": "2026-01-01T10:00:00"}


@contextmanager
def serving(folder: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The process of the command, and the address with the token that it prints."""
    command = [sys.executable, "-m", "lightning_gen", "view", folder, "port=0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process, next(line.strip() for line in process.stdout if line.startswith("http"))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def measured(pid: int, address: str) -> dict[str, float]:
    """Opens the pages."""
    opener = build_opener(HTTPCookieProcessor(CookieJar()))
    opener.open(address).read()
    home = address.partition("/?")[0]
    used, begin = cpu_seconds(pid), time.perf_counter()
    table = text_of(opener, f"{home}/")
    first = time.perf_counter() - begin
    after_table = memory_mib(pid, "VmRSS")
    names = re.findall(r'name="run" value="(.*?)"', table)
    pages = [f"runs/{name}/thumbnail" for name in names] + [f"runs/{name}" for name in names[:REPORTS]]
    pages.append("compare?" + "&".join(f"run={name}" for name in names[:6]))
    for page in pages:
        opener.open(f"{home}/{page}").read()
    return {
        "first_page_seconds": round(first, 2),
        "cpu_seconds": round(cpu_seconds(pid) - used, 2),
        "table_mib": after_table,
        "peak_mib": memory_mib(pid, "VmHWM"),
    }


def text_of(opener: OpenerDirector, address: str) -> str:
    """The text of a page."""
    return opener.open(address).read().decode()


def memory_mib(pid: int, key: str) -> float:
    """A size in the status of a process, by Linux: `VmRSS` as it is, `VmHWM` its largest so far."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else float("nan")


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process so far, by Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
