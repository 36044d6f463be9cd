"""What an option of a config group must do to be one: called by our own tests and by those of plugins.

Each function trains for a few steps on made-up data in a temporary folder and raises AssertionError where the
contract is broken.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

DATA = {
    "grey": ["data.image_shape=[1,28,28]"],
    "rgb": ["data.image_shape=[3,32,32]"],
    "non_square": ["data.image_shape=[3,20,36]"],
    "conditional": ["data.image_shape=[1,32,32]", "model.conditional=true"],
    "sequence": ["data.image_shape=[6,1,16,16]", "data.num_classes=null"],
    "non_square_sequence": ["data.image_shape=[5,3,20,12]", "data.num_classes=null"],
}


def check_model(name: str, *overrides: str, data: str = "rgb") -> None:
    """`model=name` trains, samples, checkpoints, reloads without its data, and resumes as if it had never stopped.

    Its networks are made narrow, a generator steps at every second batch at least, and predictors of frames are given
    3. `data` is a key of `DATA`; `overrides` are added to the command line.
    """
    from lightning_gen.checkpoint import load_model

    with tempfile.TemporaryDirectory() as folder:
        shared = [f"model={name}", *DATA[data], *_narrow(name, *overrides), *overrides]
        straight = _train(shared, Path(folder, "straight"), images=32)
        _train(shared, Path(folder, "resumed"), images=16)
        resumed = _train(shared, Path(folder, "resumed"), images=32, resume=True)
        _assert_same(straight, resumed)
        for ema in (True, False):
            loaded = load_model(straight, ema=ema)
            if loaded.generates:
                _assert_samples(loaded)


def model_class(name: str) -> "type[ImageGenerator]":
    """The class behind `model=name`, which says what data it takes."""
    from lightning_gen.checking import locate
    from lightning_gen.config import compose

    return locate(compose([f"model={name}"]).model["_target_"], "model._target_")


def _narrow(name: str, *overrides: str) -> list[str]:
    """Overrides that make a model quick: channels of its networks, and the turns of its players."""
    from lightning_gen.config import compose

    model = compose([f"model={name}", "data=fake", "callbacks=[]", "metrics=[]", *overrides]).model
    small = {"width": 8, "largest": 16, "hidden": 8}
    narrow = [
        f"model.{part}.{key}={size}"
        for part, network in model.items()
        if hasattr(network, "keys")
        for key, size in small.items()
        if isinstance(network.get(key), int) and network[key] > size
    ]
    if model.get("generator_every", 1) > 2:
        narrow.append("model.generator_every=2")
    if "context_frames" in model:
        narrow.append("model.context_frames=3")
    return narrow


def _train(overrides: list[str], folder: Path, images: int, resume: bool = False) -> Path:
    from lightning_gen.config import compose
    from lightning_gen.training import train

    arguments = [
        *("data=fake", "data.num_images=32", "data.batch_size=8", "trainer=smoke", "trainer.validate_every_images=16"),
        *(
            "callbacks=[log_terms,finite_guard,sample_grid,reconstructions,continuations,checkpoint]",
            "metrics=[]",
            "extractor=none",
        ),
        *("callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4", "callbacks.continuations.n=1"),
        *overrides,
        *(f"trainer.max_images={images}", f"run_dir={folder}", f"resume={str(resume).lower()}"),
    ]
    train(compose(arguments), arguments)
    return folder / "checkpoints" / "last.ckpt"


def _assert_same(straight: Path, resumed: Path) -> None:
    first, second = (torch.load(path, weights_only=True) for path in (straight, resumed))
    for key in ("state_dict", "optimizer_states"):
        one, other = _flat(first[key]), _flat(second[key])
        assert one.keys() == other.keys(), f"{key}: a resumed run holds other tensors"
        differing = [name for name in one if not torch.equal(one[name], other[name])]
        assert not differing, f"{key}: resuming changed {differing[:3]}"


def _flat(value, prefix: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return {name: t for key, item in items for name, t in _flat(item, f"{prefix}.{key}").items()}


def _assert_samples(model) -> None:
    labels = None if model.num_classes is None else torch.arange(5) % model.num_classes
    with torch.no_grad():
        images = model.sample(5, labels)
    assert images.shape == (5, *model.image_shape), f"sample(5) has shape {tuple(images.shape)}"
    assert images.isfinite().all(), "samples hold NaN or infinity"
    assert images.abs().max() <= 1, "samples leave [-1, 1]"
