"""A file of Inception weights of the right shape, drawn at random: the published ones can't be had offline."""

import hashlib
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from lightning_gen.randomness import generator


def write_random_weights(path: Path) -> str:
    """Write the file and return its sha256. Activations keep their scale through the layers."""
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with (
        patch.object(module, "load_state_dict_from_url", lambda *args, **kwargs: {}),
        patch.object(nn.Module, "load_state_dict", lambda *args, **kwargs: None),
    ):
        network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    rng = generator("inception weights")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng) * (2 / fan_in) ** 0.5)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=rng) * 0.1)
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=rng) + 0.5)
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng) * 0.1)
    torch.save(network.state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
