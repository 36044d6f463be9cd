"""DINOv2's image encoders, https://arxiv.org/abs/2304.07193, built by timm: no downloaded code is run."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.network_extractor import IMAGENET_MEAN, IMAGENET_STD, NetworkExtractor, named
from lightning_gen.extractors.resizing import Protocol
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file

URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"
VARIANTS = {  # as torch-fidelity, timm and their file call them
    "dinov2-vit-s-14": ("vit_small_patch14_dinov2", "dinov2_vits14"),
    "dinov2-vit-b-14": ("vit_base_patch14_dinov2", "dinov2_vitb14"),
    "dinov2-vit-l-14": ("vit_large_patch14_dinov2", "dinov2_vitl14"),
}
SIZE = 224
GRID = SIZE // 14


class DinoV2(NetworkExtractor):
    """The class token after the last norm at 224 pixels: torch-fidelity's features of the same `variant`.

    `weights` is the state dict that Meta published, whose sha256 must begin with `sha256` (null: torch.hub's cache,
    where torch-fidelity keeps it too, else downloaded).
    """

    def __init__(self, variant: str, weights: str | None, sha256: str, resize: Protocol):
        name = variant.replace("-", "_")
        key = f"extractor.{name}"
        try:
            from timm import create_model
        except ImportError:
            raise UserError(
                f"extractor={name}: package timm is missing: pip install 'lightning-gen[offline]', "
                "or give extractor=none"
            ) from None
        if variant not in VARIANTS:
            raise UserError(f"{key}.variant={variant}: choose one of {', '.join(VARIANTS)}")
        architecture, file = VARIANTS[variant]
        path = weights_file(weights, URL.format(file), f"{key}.weights")
        found = check_hash(path, sha256, f"{key}.sha256")
        tensors = read_state_dict(path, f"{key}.weights")
        network = create_model(architecture, img_size=SIZE, num_classes=0)
        try:
            tensors.pop("mask_token", None)  # of its training only
            tensors["pos_embed"] = _at_our_size(tensors["pos_embed"])
            network.load_state_dict(tensors)
        except (KeyError, RuntimeError):
            raise UserError(f"{key}.weights={path}: holds the weights of another network") from None
        super().__init__(
            named(name, resize),
            network,
            sha256=found,
            size=SIZE,
            resize=resize,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )
        self.num_features = network.num_features


def _at_our_size(positions: Tensor) -> Tensor:
    """Position embeddings `(1, 1 + N, d)` of the size it was trained at, made those of ours as Meta's code does.

    timm's way, antialiased and without the tenth of a patch that is added here, gives other features.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    if side == GRID:
        return positions
    maps = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps.float(), scale_factor=(GRID + 0.1) / side, mode="bicubic")
    return torch.cat([token, maps.flatten(2).transpose(1, 2)], dim=1)
