"""Files of random weights in the shapes of the published ones; repeated tensors are stored once, so they are small."""

from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn


def windows(*shape: int, scale: float) -> Tensor:
    """A random-looking tensor whose rows are shifted views of the same few numbers."""
    inner = torch.Size(shape[1:]).numel()
    numbers = torch.randn(inner + 7 * shape[0], generator=torch.Generator().manual_seed(sum(shape)))
    strides = torch.empty(shape[1:], device="meta").stride()
    return (scale * numbers).as_strided(shape, (7, *strides))


def inception(path: Path) -> Path:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.manual_seed(0)
    with patch("torch.load"), patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    torch.save(lively(network).state_dict(), path)
    return path


def lively(network: nn.Module) -> nn.Module:
    """Weights that let differences of the inputs pass, which those a network starts with do not."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.normal_(layer.bias, std=0.1)
    return network


def vgg16(path: Path) -> Path:
    from torchvision.models import vgg16

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().state_dict().items()}
    scales = {name: (2 / shape[1:].numel()) ** 0.5 if len(shape) > 1 else 0.1 for name, shape in shapes.items()}
    tensors = {name: windows(*shape, scale=scales[name]) if len(shape) > 1 else scales[name] * torch.randn(shape)
               for name, shape in shapes.items()}  # fmt: skip
    torch.save(tensors, path)
    return path


def clip(folder: Path, kind: str) -> tuple[Path, Path]:
    """The smallest that can be built, as an archive like OpenAI's and as a state dict of its image encoder."""
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    torch.manual_seed(0)
    # Attention has a head for every 64 channels.
    encoder = CLIPVisual(8, 16, 2, 64, 8) if kind == "vit" else CLIPVisual(8, 32, (1, 1, 1, 1), 8, None)
    lively(encoder)
    encoder.text_projection = nn.Parameter(torch.randn(5, 8))
    encoder.half().forward = lambda x: x
    archive, tensors = folder / f"{kind}.pt", folder / f"{kind}.pth"
    torch.jit.trace(encoder, torch.zeros(1)).save(archive)
    torch.save({name: tensor for name, tensor in encoder.state_dict().items() if "visual" in name}, tensors)
    return archive, tensors


def dinov2(path: Path, side: int = 37) -> Path:
    """ViT-S/14 with one block twelve times over."""
    d = 384
    torch.manual_seed(0)
    shapes = {"cls_token": (1, 1, d), "mask_token": (1, d), "pos_embed": (1, side**2 + 1, d), "norm.weight": (d,),
              "norm.bias": (d,), "patch_embed.proj.weight": (d, 3, 14, 14), "patch_embed.proj.bias": (d,)}  # fmt: skip
    block = {"norm1.weight": (d,), "norm1.bias": (d,), "attn.qkv.weight": (3 * d, d), "attn.qkv.bias": (3 * d,),
             "attn.proj.weight": (d, d), "attn.proj.bias": (d,), "ls1.gamma": (d,), "norm2.weight": (d,),
             "norm2.bias": (d,), "mlp.fc1.weight": (4 * d, d), "mlp.fc1.bias": (4 * d,),
             "mlp.fc2.weight": (d, 4 * d), "mlp.fc2.bias": (d,), "ls2.gamma": (d,)}  # fmt: skip
    tensors = {name: random(shape) for name, shape in shapes.items()}
    drawn = {name: random(shape) for name, shape in block.items()}
    tensors |= {f"blocks.{number}.{name}": tensor for number in range(12) for name, tensor in drawn.items()}
    torch.save(tensors, path)
    return path


def random(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape) / (torch.Size(shape[1:]).numel() ** 0.5 if len(shape) in (2, 4) else 1)
