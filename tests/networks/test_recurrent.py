"""Recurrent layers keep float32 under autocast, and leave cuDNN where it has no derivative."""

from contextlib import nullcontext

import pytest
import torch
from helpers.configs import composed
from torch import nn

from lightning_gen.config.instantiation import build_model
from lightning_gen.networks import recurrent
from lightning_gen.networks.lstm import LSTMOutput
from lightning_gen.networks.recurrent import run

SEQUENCES = (4, 1, 16, 16)


@pytest.fixture
def seen(monkeypatch) -> list[tuple[bool, bool]]:
    """Whether cuDNN and autocast were on, for each call of a recurrent layer."""
    calls = []

    def watched(forward):
        def call(self, *arguments):
            calls.append((torch.backends.cudnn.enabled, torch.is_autocast_enabled("cpu")))
            return forward(self, *arguments)

        return call

    for kind in (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell):
        monkeypatch.setattr(kind, "forward", watched(kind.forward))
    return calls


@pytest.mark.parametrize(("training", "gradients"), [(True, True), (False, True), (True, False), (False, False)])
def test_cudnn_has_no_backward_in_evaluation_mode(seen, training, gradients):
    network = LSTMOutput(3, 4, 2).train(training)
    with nullcontext() if gradients else torch.no_grad():
        network(torch.randn(2, 5, 3))
    assert [cudnn for cudnn, _ in seen] == [training or not gradients]
    assert torch.backends.cudnn.enabled


def test_cudnn_comes_back_after_an_error():
    with pytest.raises(RuntimeError):
        run(nn.LSTM(3, 4).eval(), torch.randn(2, 5, 7), None)
    assert torch.backends.cudnn.enabled


@pytest.mark.parametrize("content_maps", ["null", "4"])
def test_cudnn_has_no_second_backward(seen, content_maps):
    narrow = [f"model.{part}.width=8" for part in ("generator", "discriminator", "image_discriminator")]
    options = ["model=mocogan", *narrow, "data=fake", f"model.content_maps={content_maps}"]
    generator = build_model(composed(*options)["model"], SEQUENCES, None).train().generator
    latent = torch.randn(2, generator.content_dim + 5 * generator.motion_dim)
    generator(latent)
    generator(latent.requires_grad_())  # as in a penalty
    assert [cudnn for cudnn, _ in seen] == [True, False]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell])
def test_layers_leave_autocast(seen, kind):
    torch.manual_seed(0)
    layer, inputs = kind(3, 4), torch.randn(2, 5, 3).bfloat16()
    inputs = inputs[0] if issubclass(kind, nn.RNNCellBase) else inputs
    expected = layer(inputs.float())[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(layer, inputs, None)[0]
    assert torch.equal(output, expected)
    assert seen[-1] == (True, False)


@pytest.mark.parametrize("name", ["draw", "vrnn", "frame_lstm", "svg_lp", "mocogan"])
def test_every_model_keeps_its_recurrent_layers_out_of_autocast(seen, name):
    sequences = name not in ("draw", "vrnn")
    shape = SEQUENCES if sequences else (1, 8, 8)
    small = {"draw": ["model.steps=2"], "frame_lstm": ["model.context_frames=2"], "svg_lp": ["model.context_frames=2"]}
    options = [f"model={name}", *small.get(name, []), "data=fake", f"data.image_shape=[{','.join(map(str, shape))}]"]
    model = build_model(composed(*options)["model"], shape, None)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        model.predict(torch.zeros(1, 2, *shape[1:]), 1) if hasattr(model, "predict") and sequences else model.sample(1)
    assert seen
    assert not any(autocast for _, autocast in seen)


def test_the_precision_of_float32_stays_when_cudnn_is_off():
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    try:
        with recurrent.without_cudnn():
            assert not torch.backends.cudnn.enabled
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
