"""Checks of the contract of options (docs/plugins.md), for our own tests and those of plugins.

Each function uses synthetic data and a temporary folder, and raises AssertionError where an option breaks the contract.
`overrides` are those of the command line.
"""

import copy
import json
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from lightning_gen.config.signatures import signature_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lightning_gen.batch import Batch
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

# Overrides for each kind of data that `check_model` takes.
DATA = {
    "gray": ["data.image_shape=[1,28,28]"],
    "rgb": ["data.image_shape=[3,32,32]"],
    "non_square": ["data.image_shape=[3,20,36]"],
    "conditional": ["data.image_shape=[1,32,32]", "model.conditional=true"],
    "sequence": ["data.image_shape=[6,1,16,16]", "data.num_classes=null"],
    "non_square_sequence": ["data.image_shape=[5,3,20,12]", "data.num_classes=null"],
}
FAKE = ["data=fake", "data.num_images=32"]
CALLBACKS = [
    "callbacks=[log_terms,finite_guard,sample_grid,reconstructions,continuations,checkpoint]",
    *("callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4", "callbacks.continuations.n=1"),
]
SMALL = {"width": 8, "largest": 16, "hidden": 8}  # sizes of networks


def check_model(name: str, *overrides: str, data: str = "rgb") -> None:
    """`model=name` trains, samples, saves, loads without its data, and resumes bit for bit.

    To be quick, its networks are narrow, a generator steps at least at every second batch, and frame predictors have 3
    frames of context. `data` is a key of `DATA`; `overrides` are added to the command line.
    """
    from lightning_gen.checkpoint import load_model

    if data == "grey":
        warnings.warn('data="grey" is now "gray"; the old name goes away in 0.2', DeprecationWarning, stacklevel=2)
        data = "gray"
    with tempfile.TemporaryDirectory() as folder:
        run = _Runs([f"model={name}", *FAKE, *DATA[data], *narrow(name, *overrides), *overrides], Path(folder))
        straight = _train_and_resume(run)
        for ema in (True, False):
            loaded = load_model(straight, ema=ema)
            if loaded.generates:
                _assert_samples(loaded)


def check_metric(name: str, *overrides: str) -> None:
    """`metrics=[name]` scores a model after training, and gives its checkpoint the same scores.

    Each score has a direction (`better`) and is a number; only too few images may make it NaN. The model is a small VAE
    on synthetic images, unless `overrides` choose others: `model=gan`, `data=gaussians`.
    """
    from lightning_gen.cli.commands.evaluate import run
    from lightning_gen.cli.hydra_app import Job
    from lightning_gen.config.composition import compose

    has_data = any(override.startswith("data=") for override in overrides)
    data = [] if has_data else [*FAKE, "data.image_shape=[1,16,16]"]
    metric = [f"metrics=[{name}]", *(o for o in overrides if o.startswith(("metrics", "extractor")))]
    with tempfile.TemporaryDirectory() as folder:
        chosen = ["model=mlp_vae", *data, "evaluation.batch_size=8", f"metrics=[{name}]", *overrides]
        checkpoint = _Runs(chosen, Path(folder)).train("run", images=16)
        config = compose([*metric, f"checkpoint={checkpoint}", "batch_size=8", "device=cpu"], "evaluate")
        run(Job(config))
        first, second = json.loads(Path(folder, "run", "evaluation.json").read_text())
        config.num_samples = config.num_real = 2
        run(Job(config))
    reasons = "; ".join(f"{skipped}: {reason}" for skipped, reason in first["skipped"].items())
    assert not first["skipped"], f"nothing to score ({reasons}); choose a model and data for it, such as 'model=gan'"
    assert first["scores"], "no score"
    for score, value in first["scores"].items():
        better = first["better"].get(score)
        assert better in ("lower", "higher"), f"better[{score!r}] is {better}, not 'lower' or 'higher'"
        assert not math.isnan(value), f"{score} is NaN"
        other = second["scores"].get(score)
        same = other is not None and math.isclose(value, other, rel_tol=1e-5, abs_tol=1e-7)
        assert same, f"{score} is {value} after training and {other} for the checkpoint"


def check_data(name: str, *overrides: str) -> None:
    """`data=name` has three splits of images in [-1, 1] with their labels, in the same order each time it is built.

    A resumed run continues with the batch at which the other one stopped.
    """
    from lightning_gen.config.composition import compose
    from lightning_gen.config.instantiation import build_data

    config = compose([f"data={name}", *overrides, "data.batch_size=8"], "inspect").data
    data, again = build_data(config), build_data(config)
    _assert_facts(data)
    assert data.inspect(), "inspect() says nothing"
    for split, number in data.split_sizes.items():
        batches = list(data.batches(split, "cpu", limit=20))
        seen = sum(len(batch.images) for batch in batches)
        assert seen == min(number, 20), f"{split}: {seen} images of a pass of {min(number, 20)}"
        _assert_batches(batches, data)
        _assert_equal(batches, list(again.batches(split, "cpu", limit=20)), f"{split}: a second pass")
    stream = _training_batches(data, 4)
    _assert_batches(stream, data)
    _assert_equal(stream, _training_batches(again, 4), "train: the order of the same seed")
    again.trainer = _stopped_at(16)
    _assert_equal(stream[2:], _training_batches(again, 2), "train: what a resumed run goes on with")


def check_augment(name: str, *overrides: str) -> None:
    """`data/augment=[name]` takes gray and color images and sequences, and keeps shape and range.

    Its random numbers are the global generator's, the same for all frames of a sequence; with `takes_bytes` it does the
    same to bytes as to floats.
    """
    from lightning_gen.config.composition import compose
    from lightning_gen.config.instantiation import instantiate
    from lightning_gen.data.augment import augmented, normalize
    from lightning_gen.randomness import seed_all

    chosen = instantiate(compose(["data=fake", f"data/augment=[{name}]", *overrides], "inspect").data).augment
    chain = [augmentation for augmentation in chosen.values() if augmentation is not None]
    for shape in ((1, 12, 16), (3, 16, 16), (4, 9, 11)):
        images = torch.randint(256, (6, *shape), dtype=torch.uint8)
        before = images.clone()

        def run(inputs: "Tensor") -> "Tensor":
            seed_all("check_augment")
            return augmented(inputs, chain)

        changed = run(images)
        assert torch.equal(images, before), "its input is changed in place"
        assert changed.shape == images.shape, f"{tuple(images.shape)} become {tuple(changed.shape)}"
        assert changed.dtype == torch.float32, f"images become {changed.dtype}"
        assert changed.isfinite().all(), "NaN or infinity"
        assert changed.abs().max() <= 1 + 1e-6, "images leave [-1, 1]"
        assert torch.equal(run(images), changed), "the same seed gives other images"
        torch.testing.assert_close(run(normalize(images)), changed, msg="bytes and floats are treated differently")
        still = run(images[:, None].repeat(1, 3, 1, 1, 1))
        assert torch.equal(still[:, 0], still[:, 2]), "frames of a sequence are treated differently"


def check_network(name: str, *overrides: str, model: str | None = None, part: str = "network", **settings: Any) -> None:
    """`network@model.<part>=name` can be an encoder, a discriminator, a decoder or a generator.

    Such a network, known by its parameters (`network_role`), is checked alone, with `settings` in its config: shapes, a
    gradient for each weight, a condition if it takes one. For any other network, give the `model` to check with it as
    its `part`, and `overrides`.
    """
    if model is not None:
        check_model(
            model, f"network@model.{part}={name}", *(f"model.{part}.{k}={v}" for k, v in settings.items()), *overrides
        )
        return
    make = _network(name)
    role = _role(make)
    assert role, f"{name} is neither encoder nor decoder by its parameters: give the model and the part that it is for"
    settings = {k: SMALL[k] for k, v in make.keywords.items() if k in SMALL and v and v > SMALL[k]} | settings
    conditions = (0, 3) if "condition_dim" in signature_of(make.func).parameters else (0,)
    for shape in _shapes(make):
        for dim in conditions:
            sizes = settings | ({"condition_dim": dim} if dim else {})
            given = (torch.randn(4, dim),) if dim else ()
            if role == "encoder":
                network, inputs, expected = make(image_shape=shape, out_dim=5, **sizes), torch.randn(4, *shape), (5,)
            else:
                network, inputs, expected = make(in_dim=8, image_shape=shape, **sizes), torch.randn(4, 8), shape
            _assert_network(network, (inputs, *given), (4, *expected))


def _shapes(make: partial) -> tuple[tuple[int, ...], ...]:
    """Of images; of sequences for a network whose `image_shape` is annotated as four numbers."""
    if signature_of(make.func).parameters["image_shape"] == tuple[int, int, int, int]:
        return (6, 1, 16, 16), (5, 3, 20, 12)
    return (1, 28, 28), (3, 20, 36)


def network_role(name: str) -> str | None:
    """`encoder` (parameters `image_shape`, `out_dim`), `decoder` (`in_dim`, `image_shape`) or None."""
    return _role(_network(name))


def _role(make: partial) -> str | None:
    parameters = signature_of(make.func).parameters.keys()
    roles = {"encoder": {"image_shape", "out_dim"}, "decoder": {"in_dim", "image_shape"}}
    return next((role for role, needed in roles.items() if needed <= parameters), None)


def _network(name: str) -> partial:
    """`network=name` as a partial function of the sizes that a model adds."""
    from lightning_gen.config.composition import check
    from lightning_gen.config.instantiation import instantiate

    config = _compose_parts(f"+network@network={name}").network
    check({"network": config})
    return instantiate(config)


def _compose_parts(*overrides: str) -> Any:
    """A small config, only of what `overrides` add, as it is quick to compose."""
    from lightning_gen.config.hydra_setup import compose_unchecked, prepare_hydra

    prepare_hydra()
    return compose_unchecked("inspect", ["data=fake", *overrides])


def model_class(name: str) -> "type[ImageGenerator]":
    """The class of `model=name`, whose attributes tell what data it takes."""
    from lightning_gen.config.composition import compose
    from lightning_gen.config.validation import locate

    return locate(compose([f"model={name}"]).model["_target_"], "model._target_")


def narrow(name: str, *overrides: str) -> list[str]:
    """Overrides that make a model quick to train."""
    model = _compose_parts(f"+model={name}", *(o for o in overrides if "model" in o.partition("=")[0])).model
    chosen = [
        f"model.{part}.{key}={size}"
        for part, network in model.items()
        if hasattr(network, "keys")
        for key, size in SMALL.items()
        if isinstance(network.get(key), int) and network[key] > size
    ]
    if model.get("generator_every", 1) > 2:
        chosen.append("model.generator_every=2")
    if "context_frames" in model:
        chosen.append("model.context_frames=3")
    return chosen


def _train_and_resume(runs: "_Runs") -> Path:
    """The checkpoint of a run, which one that is stopped half-way and resumed must end with too."""
    straight = runs.train("straight", images=32)
    runs.train("resumed", images=16)
    resumed = runs.train("resumed", images=32, resume=True)
    _assert_same(straight, resumed)
    return straight


class _Runs:
    """Short runs of one config, which is composed once, as that takes longer than to train a small model."""

    def __init__(self, overrides: Sequence[str], folder: Path):
        from lightning_gen.config.composition import compose_unresolved

        self.folder = folder
        self.overrides = [
            "debug=smoke",
            "trainer.validate_every_images=16",
            "metrics=[]",
            "evaluation.num_samples=null",  # as `evaluate` of the checkpoint
            "evaluation.num_real=null",
            "data.batch_size=8",
            *([] if any(text.startswith("callbacks=") for text in overrides) else CALLBACKS),
            *overrides,
        ]
        self.config, self.hydra_node = compose_unresolved("train", self.overrides)

    def train(self, name: str, images: int, resume: bool = False) -> Path:
        """Train in the folder `name` until `images` are seen; the path of the last checkpoint."""
        from omegaconf import OmegaConf

        from lightning_gen.config.composition import finish
        from lightning_gen.training.run import train

        config = copy.deepcopy(self.config)
        run_dir = self.folder / name
        changes = {"trainer.max_images": images, "run_dir": str(run_dir), "resume": resume}
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
        config = finish(config, self.hydra_node, "train")
        train(config, [*self.overrides, *(f"{key}={value}" for key, value in changes.items())])
        return run_dir / "checkpoints" / "last.ckpt"


def _assert_same(straight: Path, resumed: Path) -> None:
    first, second = (torch.load(path, weights_only=True) for path in (straight, resumed))
    for key in ("state_dict", "optimizer_states"):
        one, other = _flat(first[key]), _flat(second[key])
        assert one.keys() == other.keys(), f"{key}: a resumed run holds other tensors"
        differing = [name for name in one if not torch.equal(one[name], other[name])]
        assert not differing, f"{key}: resuming changed {differing[:3]}"


def _flat(value: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    """All tensors in nested containers, by their paths."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {name: tensor for key, item in value.items() for name, tensor in _flat(item, f"{prefix}.{key}").items()}


def _assert_samples(model: "ImageGenerator") -> None:
    labels = None if model.num_classes is None else torch.arange(5) % model.num_classes
    with torch.no_grad():
        images = model.sample(5, labels)
    assert images.shape == (5, *model.image_shape), f"sample(5) has shape {tuple(images.shape)}"
    assert images.isfinite().all(), "samples hold NaN or infinity"
    assert images.abs().max() <= 1, "samples leave [-1, 1]"


def _assert_facts(data: "ImageData") -> None:
    assert isinstance(data.name, str), f"name is {data.name!r}"
    shape = data.image_shape
    assert len(shape) in (3, 4), f"image_shape {shape} is neither (C, H, W) nor (T, C, H, W)"
    assert all(type(size) is int and size > 0 for size in shape), f"image_shape is {shape}"
    assert set(data.split_sizes) == {"train", "val", "test"}, f"splits are {', '.join(data.split_sizes)}"
    assert data.split_sizes["train"] > 0, "there are no training images"
    if data.class_names is not None:
        assert all(isinstance(name, str) for name in data.class_names), f"class_names are {data.class_names[:3]}..."


def _training_batches(data: "ImageData", number: int) -> "list[Batch]":
    lists = islice(data.train_dataloader(), number)
    return [batch for batches in lists for batch in batches]


def _stopped_at(images_seen: int) -> Any:
    """A stand-in for a trainer whose model has seen `images_seen` images."""
    return SimpleNamespace(
        lightning_module=SimpleNamespace(images_seen=images_seen),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        max_images=None,
        global_rank=0,
        world_size=1,
    )


def _assert_batches(batches: "Sequence[Batch]", data: "ImageData") -> None:
    for images, labels in batches:
        assert images.dtype == torch.float32, f"images are {images.dtype}, not float32"
        assert images.shape[1:] == torch.Size(data.image_shape), f"images are {tuple(images.shape[1:])}"
        assert images.isfinite().all(), "images hold NaN or infinity"
        assert images.abs().max() <= 1, "images leave [-1, 1]"
        assert (labels is None) == (data.num_classes is None), "labels and class_names go together"
        if labels is not None and data.num_classes is not None:
            assert labels.dtype == torch.int64, f"labels are {labels.dtype}, not int64"
            assert labels.shape == (len(images),), f"labels are {tuple(labels.shape)}, of {len(images)} images"
            known = (labels >= 0) & (labels < data.num_classes)
            assert known.all(), f"labels leave the {data.num_classes} classes"


def _assert_equal(batches: "Sequence[Batch]", others: "Sequence[Batch]", what: str) -> None:
    pairs = zip(_tensors(batches), _tensors(others), strict=False)
    same = len(batches) == len(others) and all(torch.equal(one, other) for one, other in pairs)
    assert same, f"{what} differs"


def _tensors(batches: "Sequence[Batch]") -> Iterator["Tensor"]:
    return (tensor for batch in batches for tensor in batch if tensor is not None)


def _assert_network(network: "nn.Module", inputs: tuple["Tensor", ...], shape: tuple[int, ...]) -> None:
    shapes = " and ".join(str(tuple(tensor.shape)) for tensor in inputs)
    output = network(*inputs)
    assert output.shape == shape, f"{shapes} become {tuple(output.shape)}, not {shape}"
    assert output.isfinite().all(), f"{shapes} become NaN or infinity"
    output.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is NaN or infinite"
