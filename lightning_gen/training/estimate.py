"""What a training takes before it is started: memory, computation, network and time.

A few training steps are run with tensors that hold no data, so that memory and operations of a GPU's batch are known
on a laptop.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.callbacks.time_estimate import StepClock
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.optim.sharding import group_sizes
from lightning_gen.optim.stepper import Stepper
from lightning_gen.randomness import preserved_rng
from lightning_gen.trainer import check_arguments, device_of, precision_on, processes_on_node
from lightning_gen.utilities.compat import without_data
from lightning_gen.utilities.computation import Computation

CYCLE = 64  # steps within which all kinds of steps occur
ENTRY = 300  # bytes of a tensor's entry in a checkpoint, besides its values


class Parts(NamedTuple):
    """Bytes of a model on one process of a run of one process."""

    weights: int  # buffers included
    gradients: int
    averages: int
    optimizer: int


class Steps(NamedTuple):
    """What training steps take."""

    flops: float  # on average
    peak: int  # bytes, of everything
    largest: int  # bytes of the gradients of the optimizer with the most


def estimate(config: DictConfig) -> dict[str, Any]:
    """Numbers by name of the training that `config` describes; bytes are those of one process.

    Raises UserError as the training would.
    """
    check_arguments(config.trainer)
    processes = processes_on_node(config.trainer) * config.trainer.get("num_nodes", 1)
    torch.manual_seed(config.seed)
    data = build_data(config.data, 1)
    data.check_batch_size(processes)
    model = build_model(config.model, data.image_shape, data.num_classes)
    sharded = bool(config.trainer.get("sharded")) and processes > 1
    names = [name for name, part in model.named_children() if any(True for _ in part.parameters())]
    result: dict[str, Any] = {
        "model": type(model).__name__,
        "image_shape": list(data.image_shape),
        "parameters": _trained(model),
        "parameters_of": {name: _trained(getattr(model, name)) for name in names if name != "averages"},
        "processes": processes,
        "batch_size": data.batch_size,
        "images_per_process": data.batch_size // processes,
        "precision": str(precision_on(config.trainer.get("accelerator", "auto"), config.trainer.get("precision"))),
        "sharded": sharded,
    }
    images = _max_images(config, data)
    result |= speed(model, data, result, config.trainer.get("accelerator", "auto"), images)
    gathered = gathered_bytes(model) if sharded else None
    parts, steps, saved = run_without_data(model, data, result, images)
    result["gflops_per_image"] = steps.flops / result["images_per_process"] / 1e9
    result["memory"] = memory(parts, steps, processes, gathered)
    result["checkpoint_bytes"] = saved
    result["network_bytes_per_step"] = network(parts, processes, gathered)
    return result


def _trained(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _max_images(config: DictConfig, data: ImageData) -> int | None:
    epochs = config.trainer.get("max_epochs")
    return epochs * data.split_sizes["train"] if epochs else config.trainer.get("max_images")


class Gathered(NamedTuple):
    """Bytes of the parts of a model that are divided among processes."""

    trained: int
    averages: int
    at_a_time: int  # whole weights and gradients of the largest block; of what is kept gathered, all of it


def gathered_bytes(model: ImageGenerator) -> Gathered:
    """What `trainer.sharded` divides, and gathers."""
    averages = {id(average.module) for average in model.averages.values() if isinstance(average.module, nn.Module)}
    trained, of_averages, at_a_time = 0, 0, [0]
    for part, keep in model.parts_to_shard():
        size = _bytes(part.parameters())
        if id(part) in averages:
            of_averages += size
            continue
        trained += size
        at_a_time.append(2 * (size if keep else 4 * sum(sorted(group_sizes(part))[-2:])))  # the next one is prefetched
    return Gathered(trained, of_averages, max(at_a_time))


def memory(parts: Parts, steps: Steps, processes: int, gathered: Gathered | None) -> dict[str, int]:
    """Bytes of one process by what they are for, and their `peak` in a training step."""
    kept = parts.weights + parts.averages + parts.optimizer
    working = max(steps.peak - kept, 0)  # gradients, activations and what is temporary, the most at a time
    if processes > 1 and gathered is None:
        working = max(working, 2 * steps.largest)  # gradients are copied to be averaged
    if gathered is None:
        rows = parts._asdict()
    else:
        away, share = 1 - 1 / processes, gathered.trained / max(parts.gradients, 1)
        rows = {
            "weights": round(parts.weights - away * gathered.trained),
            "gradients": round(parts.gradients * (1 - away * share)),
            "averages": round(parts.averages - away * gathered.averages),
            "optimizer": round(parts.optimizer * (1 - away * share)),
            "gathered": gathered.at_a_time,
        }
    activations = max(working - parts.gradients, 0)
    used = max(working, rows["gradients"]) if gathered is None else rows["gradients"] + gathered.at_a_time + activations
    kept = rows["weights"] + rows["averages"] + rows["optimizer"]
    return {**rows, "activations": activations, "peak": kept + used}


def network(parts: Parts, processes: int, gathered: Gathered | None) -> int:
    """Bytes that each process sends in a step in which all weights are updated, by rings.

    Gradients pass twice; sharded weights are gathered before the forward and the backward pass, and their gradients
    reduced once.
    """
    share = (processes - 1) / processes
    if gathered is None:
        return round(2 * share * parts.gradients)
    return round(share * (3 * gathered.trained + 2 * max(parts.gradients - gathered.trained, 0)))


def run_without_data(
    model: ImageGenerator, data: ImageData, result: Mapping[str, Any], images: int | None
) -> tuple[Parts, Steps, int]:
    """Training steps of one process, of a model that they take the data of; then also the size of its checkpoint."""
    rows = result["images_per_process"]
    with preserved_rng(), without_data(model):
        attach(model, images)
        tensors = [*model.parameters(), *model.buffers()]
        computation = Computation(tensors)
        labels = None if data.num_classes is None else torch.zeros(rows, dtype=torch.int64)
        batch = Batch(torch.zeros(rows, *data.image_shape), labels)
        kinds = _kinds_of_steps(model, rows)
        total = 0.0
        for again in (False, True):  # the first time there is no state of optimizers yet
            for (_, number), steps in kinds.items():
                model.batches_seen, before = number, computation.flops
                with computation, autocast("cpu", result["precision"]):
                    model.prepare()
                    model.step(batch)
                    model.terms.commit()
                total += again * steps * (computation.flops - before)
        states = [value for stepper in model.steppers for value in _tensors(stepper.optimizer.state)]
        averages = _bytes(model.averages.parameters()) + _bytes(model.averages.buffers())
        parts = Parts(_bytes(tensors) - averages, 4 * _trained(model), averages, _bytes(states))
        largest = max(_bytes(stepper.parameters) for stepper in model.steppers)
        saved = [*model.state_dict().values(), *states]
    flops = total / sum(kinds.values())
    return parts, Steps(flops, computation.peak, largest), _bytes(saved) + ENTRY * len(saved)


def _kinds_of_steps(model: ImageGenerator, rows: int) -> dict[tuple[Hashable, int], int]:
    """How many of `CYCLE` steps run the same kernels, by what the host decides and the number of the first one."""
    first: dict[Hashable, int] = {}
    counts: Counter[Hashable] = Counter()
    for number in range(CYCLE):
        model.batches_seen, model.images_seen = number, number * rows
        kind = model.step_variant()
        first.setdefault(kind, number)
        counts[kind] += 1
    return {(kind, first[kind]): count for kind, count in counts.items()}


def speed(
    model: ImageGenerator, data: ImageData, result: Mapping[str, Any], accelerator: str, total: int | None
) -> dict[str, Any]:
    """Images per second by some training steps on this machine's device, and hours of the whole training.

    Several processes are taken to be as many times as fast as one with its part of the batch.
    """
    device = device_of(accelerator)
    if device is None:
        return {"images_per_second": None, "hours": None}
    rows, whole = result["images_per_process"], data.batch_size
    data.batch_size = rows
    attach(model.to(device), total)
    batches = (batch for group in data.train_dataloader() for batch in group)
    clock = StepClock(model)
    while clock.speed is None:
        images, labels = next(batches)
        with autocast(device.type, result["precision"]):
            model.prepare()
            model.step(Batch(images.to(device), None if labels is None else labels.to(device)))
        model.terms.commit()
        model.batches_seen += 1
        model.images_seen += rows
        clock.after_step()
    data.batch_size = whole
    per_second = result["processes"] * clock.speed
    model.to("cpu")
    return {"images_per_second": per_second, "hours": total and total / per_second / 3_600}


def attach(model: ImageGenerator, images: int | None) -> None:
    """Give a model new optimizers, and what a training step asks of a trainer."""
    model.train()
    trainer: Any = SimpleNamespace(max_images=images, world_size=1)
    model.trainer = trainer
    model.steppers = [Stepper(o, model.gradient_clip, model.schedule) for o in model.build_optimizers()]


def autocast(device: str, precision: str) -> AbstractContextManager:
    """Mixed precision as in training; of 16 bits whatever the type."""
    return torch.autocast(device, torch.bfloat16, enabled="mixed" in precision)


def _tensors(state: Mapping[Any, Mapping[str, Any]]) -> Iterable[Tensor]:
    return [value for values in state.values() for value in values.values() if isinstance(value, Tensor)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)
