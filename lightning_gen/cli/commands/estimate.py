"""Estimate what a training takes, without running it: memory, operations, checkpoint, network traffic and time.

usage: lightning-gen estimate [OVERRIDE ...] [--json]

OVERRIDE is one of `lightning-gen train`. Memory is that of one process, besides 0.3 GiB of Python and PyTorch, and of
images that are kept on a GPU. Images per second come from some seconds of training, if this machine has the device.

  lightning-gen estimate model=dcgan data=cifar10
  lightning-gen estimate model=stylegan2 data=folder data.path=my_images data.size=256 trainer=ddp trainer.devices=8
  lightning-gen estimate experiment=cifar10/sngan trainer=fsdp trainer.devices=4 trainer.num_nodes=2 --json
"""

import json
from collections.abc import Iterator
from typing import Any

from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.utilities.durations import duration
from lightning_gen.utilities.printable import printable

MEMORY = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "state of the optimizer",
    "averages": "averaged weights (EMA)",
    "gathered": "blocks that are gathered",
    "activations": "activations",
    "peak": "at its peak",
}


def run(arguments: list[str]) -> int:
    """Print the estimate."""
    overrides = [word for word in arguments if word != "--json"]
    if flags := [word for word in overrides if word.startswith("-") and "=" not in word]:
        raise UserError(f"{flags[0]}: no such flag; estimate takes --json, and overrides of one training")
    config = compose(overrides)
    from lightning_gen.training.estimate import estimate  # after mistakes have been told

    result = estimate(config)
    if "--json" in arguments:
        print(json.dumps(result, indent=1))
    else:
        print("\n".join(f"{printable(name) + ':':<26}{value}" for name, value in _rows(result)))
    return 0


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    parts = ", ".join(f"{name} {count:,}" for name, count in result["parameters_of"].items() if count)
    yield "model", f"{result['model']}, images of {'x'.join(map(str, result['image_shape']))}, {result['precision']}"
    yield "parameters", f"{result['parameters']:,} ({parts})"
    yield (
        "processes",
        f"{result['processes']}, each with {result['images_per_process']} of {result['batch_size']} images",
    )
    yield "computation", f"{result['gflops_per_image']:.3g} GFLOP per image"
    yield "memory of a process", ""
    for name, words in MEMORY.items():
        if result["memory"].get(name):
            yield f"  {words}", size_text(result["memory"][name])
    yield "checkpoint", size_text(result["checkpoint_bytes"])
    if result["processes"] > 1:
        yield "network", f"each process sends {size_text(result['network_bytes_per_step'])} a step"
    if result["images_per_second"] is None:
        yield "speed", "not known, there is no such device here"
    else:
        hours = "" if result["hours"] is None else f"; the training takes {duration(3_600 * result['hours'])}"
        yield "speed", f"{result['images_per_second']:,.3g} images/s{hours}"
