"""What an option of a config group must do to be one: called by our own tests and by those of plugins.

Each function trains for a few steps on made-up data in a temporary folder and raises AssertionError where the
contract is broken.
"""

import tempfile
from pathlib import Path

import torch

DATA = {
    "grey": ["data.image_shape=[1,28,28]"],
    "rgb": ["data.image_shape=[3,32,32]"],
    "non_square": ["data.image_shape=[3,20,36]"],
    "conditional": ["data.image_shape=[1,32,32]", "model.conditional=true"],
}


def check_model(name: str, *overrides: str, data: str = "rgb") -> None:
    """`model=name` trains, samples, checkpoints, reloads without its data, and resumes as if it had never stopped.

    Its networks are made narrow, and a generator steps at every second batch at least. `data` is a key of `DATA`;
    `overrides` are added to the command line.
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
    return [*narrow, "model.generator_every=2"] if model.get("generator_every", 1) > 2 else narrow


def _train(overrides: list[str], folder: Path, images: int, resume: bool = False) -> Path:
    from lightning_gen.config import compose
    from lightning_gen.training import train

    arguments = [
        *("data=fake", "data.num_images=32", "data.batch_size=8", "trainer=smoke", "trainer.validate_every_images=16"),
        *("callbacks=[log_terms,finite_guard,sample_grid,reconstructions,checkpoint]", "metrics=[]"),
        *("callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4"),
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
