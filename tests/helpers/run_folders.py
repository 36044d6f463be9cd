"""Run folders of plain files, without a training."""

import json
from pathlib import Path

from PIL import Image

SAMPLES = "samples_{:010}.png"


def write_run(folder: Path, model: str, kid: float, steps: tuple[int, ...] = (100, 200)) -> Path:
    """A finished run with a score and a picture at each of `steps`."""
    (folder / "samples").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/best.ckpt").write_bytes(b"nothing")
    options = [f"model={model}", "data=mnist5k"]
    config = f"run_dir: {folder}\nmodel:\n  _target_: {model}\n  beta: {kid}\noptions: {options}\n"
    (folder / "config.yaml").write_text(config)
    start = {"started": "2026-01-01T10:00:00", "outcome": "finished", "options": options}
    (folder / "environment.json").write_text(json.dumps([start]))
    (folder / "evaluation.json").write_text(json.dumps([evaluation({"kid/x": kid})]))
    rows = "".join(f"{step},{1 / step}\n" for step in steps)
    (folder / "metrics.csv").write_text("images,val/loss\n" + rows)
    for step in steps:
        Image.new("L", (60, 40), step % 256).save(folder / "samples" / SAMPLES.format(step))
    return folder


def evaluation(scores: dict[str, float]) -> dict:
    """An entry of evaluation.json; lower scores are better."""
    origin = {"extractor": None, "of_samples": False, "splits": ["test"]}
    protocol = {"data": "fake", "split": "test", "images": {"test": "00"}, "binarize": False, "n_real": 8, "n_fake": 0}
    return {
        "scores": scores,
        "better": dict.fromkeys(scores, "lower"),
        "uncertainty": {},
        "origin": {name: origin | {"metric": name.partition("/")[0]} for name in scores},
        "protocol": protocol | {"extractors": {}, "metrics": {}, "versions": {}},
        "time": "2026-01-01T00:00:00",
    }
