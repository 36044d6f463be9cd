"""Compares `lightning-gen estimate` with a training: parameters, checkpoint and peak memory, on the CPU.

`python scripts/bench_estimate.py [key=value ...]` prints a line of JSON. The peak is that of PyTorch's allocations in
training steps, by its profiler; weights and optimizers, which are there before, are added.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from lightning_gen.batch import Batch
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.training.estimate import attach, estimate
from lightning_gen.training.run import train


def measured_peak(overrides: list[str]) -> int:
    """Bytes in the second training step, in which optimizers have their state."""
    config = compose(overrides)
    data = build_data(config.data, 1)
    model = build_model(config.model, data.image_shape, data.num_classes)
    attach(model, None)
    batch = next(batch for group in data.train_dataloader() for batch in group)
    _step(model, batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _step(model, batch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = [e for e in json.loads(path.read_text())["traceEvents"] if e.get("name") == "[memory]"]
    events.sort(key=lambda event: event["ts"])
    peak = now = 0
    for event in events:
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    moments = (
        value for stepper in model.steppers for state in stepper.optimizer.state.values() for value in state.values()
    )
    kept = [*model.parameters(), *model.buffers(), *(value for value in moments if isinstance(value, torch.Tensor))]
    return peak + sum(tensor.nbytes for tensor in kept)


def _step(model, batch: Batch) -> None:
    model.batches_seen = 0  # a step with all penalties
    model.prepare()
    model.step(batch)
    model.terms.commit()


def measured_checkpoint(overrides: list[str]) -> int:
    """Bytes of `last.ckpt` after a step."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*overrides, "metrics=[]", "callbacks=[checkpoint]", "logger=[]", "trainer.max_images=1"]
        arguments += [f"run_dir={folder}/run", "trainer.steps_per_call=1", "+trainer.limit_val_batches=0"]
        train(compose(arguments), arguments)
        return Path(folder, "run", "checkpoints", "last.ckpt").stat().st_size


def main(overrides: list[str]) -> None:
    """Print both, and by how much they differ."""
    guess = estimate(compose(overrides))
    config = compose(overrides)
    data = build_data(config.data, 1)
    model = build_model(config.model, data.image_shape, data.num_classes)
    pairs = {
        "parameters": (guess["parameters"], sum(p.numel() for p in model.parameters() if p.requires_grad)),
        "checkpoint": (guess["checkpoint_bytes"], measured_checkpoint(overrides)),
        "peak": (guess["memory"]["peak"], measured_peak(overrides)),
    }
    off = {name: round(guessed / found - 1, 4) for name, (guessed, found) in pairs.items()}
    speed = round(guess["images_per_second"] or 0, 1)
    print(json.dumps({"bench": "estimate", "overrides": overrides, **pairs, "off": off, "images_per_second": speed}))


if __name__ == "__main__":
    main(sys.argv[1:])
