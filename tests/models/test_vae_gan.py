"""VAE-GAN: who learns what from which of its terms."""

import pytest
import torch
from helpers.configs import composed
from helpers.tiny_models import FAKE_DATA

from lightning_gen.batch import Batch
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.errors import UserError
from lightning_gen.models.vae_gan import VAEGAN

PARTS = [
    f"network@model.{part}={kind}" for part, kind in (("generator", "mlp_decoder"), ("discriminator", "mlp_encoder"))
]
SMALL = ["model=vae_gan", *PARTS, "network@model.encoder=mlp_encoder", "model.latent_dim=3", "data.image_shape=[1,8,8]"]


def built(*overrides: str) -> tuple[VAEGAN, Batch]:
    config = composed(*SMALL, *FAKE_DATA, *overrides)
    data = build_data(config.data)
    torch.manual_seed(0)
    model = build_model(config.model, data.image_shape, data.num_classes)
    return model, next(iter(data.batches("train", "cpu", limit=8)))


def gradients(model: VAEGAN, batch: Batch) -> dict[str, torch.Tensor]:
    """Of the generator's loss, by part."""
    torch.manual_seed(1)
    model.zero_grad()
    model.objective("generator", model.generator_round(model.forward_generator(batch)))[0].backward()
    parts = {"encoder": model.generator.encoder, "decoder": model.generator.decoder}
    return {name: torch.cat([p.grad.flatten() for p in part.parameters()]) for name, part in parts.items()}


def test_the_encoder_learns_from_the_bound_alone():
    model, batch = built("model.feature_weight=1.0")
    once = gradients(model, batch)
    model.feature_weight = 0.01
    weighted = gradients(model, batch)
    torch.testing.assert_close(weighted["encoder"], once["encoder"], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(weighted["decoder"], once["decoder"], rtol=0.1)
    model.loss.generator = lambda real, fake: 100 * fake.mean()
    torch.testing.assert_close(gradients(model, batch)["encoder"], weighted["encoder"])


def test_half_of_the_generated_images_are_reconstructions():
    model, batch = built()
    torch.manual_seed(1)
    generated = model.forward_generator(batch)
    _, latent = model.inferred
    assert torch.equal(generated.latent[::2], latent[::2])
    assert not torch.isclose(generated.latent[1::2], latent[1::2]).any()
    assert not generated.latent.requires_grad


def test_features_are_the_inputs_of_the_last_layer():
    model, batch = built()
    last = [layer for layer in model.discriminator.modules() if isinstance(layer, torch.nn.Linear)][-1]
    features = model.features(batch.images, None)
    torch.testing.assert_close(last(features), model.discriminator(batch.images, None))


def test_a_discriminator_without_hidden_layers_is_refused():
    with pytest.raises(UserError, match=r"model.discriminator: has no hidden layer"):
        built("model.discriminator.depth=0")
