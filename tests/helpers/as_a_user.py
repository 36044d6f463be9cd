"""Run by test_wheel.py in an environment of wheels: train, evaluate and sample with each plugin, then their tests."""

import json
import sys

import lightning_gen
from lightning_gen.cli import main
from lightning_gen.config.plugins import broken

FAKE_IMAGES = ["data=fake", "data.num_images=32", "data.image_shape=[1,16,16]"]
QUICK = [
    *("debug=smoke", "trainer.max_images=16", "trainer.validate_every_images=16", "data.batch_size=8"),
    *("metrics=[]", "callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4"),
]


def use(name: str, overrides: list[str]) -> None:
    """What a user does with a plugin: `overrides` are how it is chosen."""
    data = [] if any(each.startswith("data=") for each in overrides) else FAKE_IMAGES
    folder = next((each.partition("=")[2] for each in overrides if each.startswith("run_dir=")), name)
    assert main(["train", *QUICK, *data, f"run_dir={folder}", *overrides]) == 0, name
    scored = [each for each in overrides if each.startswith(("metrics", "extractor"))]
    scored = scored or ["metrics=[kid]" if name == "core" else "metrics=[reconstruction]"]
    assert main(["evaluate", f"checkpoint={folder}", "num_real=8", "num_samples=8", *scored]) == 0, name
    assert main(["sample", f"checkpoint={folder}", "n=4", "interpolation=false", f"out={folder}/drawn"]) == 0, name


class WithoutTrainings:
    """Leaves out the checks that train what was used already."""

    names = [f"test_user_{kind}" for kind in ("loss", "penalty", "likelihood", "extractor", "callback", "logger")]

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [item for item in items if item.name not in self.names]


if __name__ == "__main__":
    checkout, smoke, tests = json.loads(sys.argv[1])
    assert not lightning_gen.__file__.startswith(checkout)
    assert not broken()
    for each in smoke.items():
        use(*each)
    if tests:
        import pytest

        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[WithoutTrainings()]))
