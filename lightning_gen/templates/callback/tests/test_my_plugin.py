import torch
from my_plugin import MyOption

from lightning_gen import compose
from lightning_gen.config import build_model
from lightning_gen.testing import check_model


def test_my_option():
    check_model("mlp_vae", "callbacks=[log_terms,checkpoint,my_option]", data="gray")


def test_the_norm_of_known_weights(monkeypatch):
    model = build_model(compose("model=mlp_vae").model, (1, 8, 8), None)
    for parameter in model.encoder.parameters():
        torch.nn.init.ones_(parameter)
    logged = {}
    monkeypatch.setattr(model, "log_now", logged.update)
    MyOption().on_validation_end(None, model)
    count = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert abs(logged["weights/encoder"] - count**0.5) < 1e-3
    assert set(logged) == {"weights/encoder", "weights/decoder"}
