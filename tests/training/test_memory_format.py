"""A run continued in another memory format goes on as it was."""

import shutil

import torch
from helpers.runs import resume, saved, train_with

TINY_DCGAN = [
    *("model=dcgan", "data=fake", "data.image_shape=[1,16,16]", "data.num_images=64", "data.batch_size=8"),
    *("model.latent_dim=8", "model.generator.width=8", "model.discriminator.width=8", "debug=smoke", "metrics=[]"),
    *("callbacks=[checkpoint]", "callbacks.last.every_images=32"),
    *("trainer.max_images=64", "trainer.validate_every_images=64"),
]


def moved(before: dict, after: dict) -> dict[str, torch.Tensor]:
    """By how much each kernel of a convolution has changed."""
    kernels = [name for name, value in before.items() if value.ndim == 4 and name.startswith(("gen", "disc"))]
    return {name: after[name] - before[name] for name in kernels}


def test_channels_last_can_be_switched_on_in_a_run(tmp_path):
    folder = train_with(tmp_path / "plain", *TINY_DCGAN, "trainer.max_images=160")
    before = saved(folder)["state_dict"]
    shutil.copytree(folder, tmp_path / "last")
    plain = moved(before, saved(resume(folder, "trainer.max_images=240"))["state_dict"])
    changed = resume(tmp_path / "last", "trainer.max_images=240", "trainer.channels_last=true")
    last = moved(before, saved(changed)["state_dict"])
    assert len(plain) > 2
    for name, move in plain.items():
        assert (last[name] - move).norm() < 0.02 * move.norm(), name
