"""kornia's augmentations keep what `data/augment` and `model/augment` promise."""

import pytest
import torch
from lightning_gen_kornia.augment import Kornia, KorniaPipeline
from torch.autograd import gradgradcheck

from lightning_gen import list_options
from lightning_gen.config import compose, instantiate
from lightning_gen.data.augment import augmented, normalize
from lightning_gen.errors import UserError
from lightning_gen.randomness import seed_all
from lightning_gen.testing import check_augment, check_model

GRAY = ("kornia_elastic", "kornia_perspective", "kornia_thin_plate", "kornia_motion_blur")


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    """Works in a checkout too, where nobody installed it."""
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_kornia")


def chain(*overrides):
    return list(instantiate(compose(["data=fake", *overrides], "inspect").data).augment.values())


def any_of(name, **settings):
    keys = [f"+data.augment.kornia.transform.{key}={value}" for key, value in settings.items()]
    return chain("data/augment=kornia", f"data.augment.kornia.transform._target_=kornia.augmentation.{name}", *keys)


def run(augmentations, images):
    seed_all("test")
    return augmented(images, augmentations)


def images(*shape):
    return torch.randint(256, (5, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_all_options_are_there():
    names = {option.name for option in list_options("data/augment")}
    assert {"kornia", *GRAY} <= names
    assert "kornia" in {option.name for option in list_options("model/augment")}


@pytest.mark.parametrize("name", GRAY)
def test_keeps_the_contract_of_augmentations(name):
    check_augment(name)
    augmentations = chain(f"data/augment=[{name}]", f"data.augment.{name}.transform.p=1.0")
    batch = images(1, 16, 16)
    changed = run(augmentations, batch)
    assert not torch.allclose(changed, normalize(batch), atol=0.05)
    same = run(augmentations, batch[:1].expand(5, -1, -1, -1))
    assert not torch.allclose(same[0], same[1], atol=1e-3)  # each has a draw of its own
    torch.testing.assert_close(run(augmentations, batch[:, None].repeat(1, 3, 1, 1, 1))[:, 1], changed)


def test_black_stays_black_and_transparency_what_it_is():
    assert (run(chain(f"data/augment=[{','.join(GRAY)}]"), torch.zeros(2, 1, 16, 16, dtype=torch.uint8)) == -1).all()
    rgba = images(4, 8, 8)
    changed = run(any_of("RandomInvert", p=1.0), rgba)
    torch.testing.assert_close(changed, torch.cat([-normalize(rgba)[:, :3], normalize(rgba)[:, 3:]], 1))


def test_settings_that_do_not_fit_end_in_one_line():
    with pytest.raises(UserError, match=r"data\.augment: kornia's RandomHue takes no images of 1x8x8: "):
        run(any_of("RandomHue", hue="[0.1,0.2]", p=1.0), images(1, 8, 8))
    with pytest.raises(UserError, match=r"data\.augment: Linear is no 2-D augmentation of kornia"):
        Kornia(torch.nn.Linear(1, 1))
    with pytest.raises(UserError, match=r"same_on_batch=true"):
        any_of("RandomInvert", same_on_batch="true")
    with pytest.raises(UserError, match=r"kornia\.augmentation.* has no RandomElasticTransfrom.*did you mean"):
        any_of("RandomElasticTransfrom")
    with pytest.raises(
        UserError, match=r"transform\.alfa=2: .*did you mean data.augment.kornia_elastic.transform.alpha"
    ):
        chain("data/augment=[kornia_elastic]", "+data.augment.kornia_elastic.transform.alfa=2")


def pipeline(*overrides):
    return instantiate(compose(["model=dcgan", "model/augment=kornia", *overrides]).model.augment)


def test_the_discriminators_pipeline_differentiates_twice_and_rests_in_evaluation():
    augment = pipeline()
    assert list(augment.transforms) == ["affine", "erasing", "brightness"]
    batch = normalize(images(3, 6, 6))
    assert not torch.allclose(augment(batch), batch, atol=0.1)
    assert augment.eval()(batch) is batch
    assert augment.train()(batch.bfloat16()).dtype == torch.bfloat16
    without = pipeline("model.augment.transforms.affine=null")
    assert list(without.transforms) == ["erasing", "brightness"]

    def cubed(x):
        seed_all("test")
        return sum(transform((x + 1) / 2) for transform in augment.transforms.values()) ** 3

    assert gradgradcheck(cubed, batch[:2].double().requires_grad_(), fast_mode=True)
    with pytest.raises(UserError, match=r"model\.augment\.transforms\.flip: dict is no 2-D augmentation"):
        KorniaPipeline({"flip": {"p": 0.5}})


@pytest.mark.slow
def test_a_gan_trains_behind_it_with_a_gradient_penalty():
    check_model("dcgan", "model/augment=kornia", "model/penalty=r1", "data/augment=[kornia_elastic]", data="gray")
