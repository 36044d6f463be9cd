"""DINOv2's image encoders, https://arxiv.org/abs/2304.07193, built by timm: no downloaded code is run."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.errors import UserError, missing_package
from lightning_gen.extractors.network_extractor import IMAGENET_MEAN, IMAGENET_STD, NetworkExtractor, name_with
from lightning_gen.extractors.resizing import ResizeMode
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file

URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"
VARIANTS = {  # names in torch-fidelity, timm, and of the file
    "dinov2-vit-s-14": ("vit_small_patch14_dinov2", "dinov2_vits14"),
    "dinov2-vit-b-14": ("vit_base_patch14_dinov2", "dinov2_vitb14"),
    "dinov2-vit-l-14": ("vit_large_patch14_dinov2", "dinov2_vitl14"),
}
SIZE = 224
GRID = SIZE // 14


class DinoV2(NetworkExtractor):
    """The class token after the last norm at 224 pixels, as in torch-fidelity's `variant`.

    `weights` is the state dict published by Meta, whose sha256 must begin with `sha256` (null: torch.hub's cache, which
    torch-fidelity uses too, else downloaded).
    """

    def __init__(self, variant: str, weights: str | None, sha256: str, resize: ResizeMode):
        name = variant.replace("-", "_")
        key = f"extractor.{name}"
        try:
            from timm import create_model
        except ImportError:
            raise missing_package(f"extractor={name}", "timm", "offline", "extractor=none") from None
        if variant not in VARIANTS:
            raise UserError(f"{key}.variant={variant}: choose one of {', '.join(VARIANTS)}")
        architecture, file = VARIANTS[variant]
        path = weights_file(weights, URL.format(file), f"{key}.weights")
        actual_sha256 = check_hash(path, sha256, f"{key}.sha256")
        tensors = read_state_dict(path, f"{key}.weights")
        network = create_model(architecture, img_size=SIZE, num_classes=0)
        try:
            tensors.pop("mask_token", None)  # used in its training only
            tensors["pos_embed"] = _resize_positions(tensors["pos_embed"])
            network.load_state_dict(tensors)
        except (KeyError, RuntimeError):
            raise UserError(f"{key}.weights={path}: holds the weights of another network") from None
        super().__init__(
            name_with(name, resize),
            network,
            sha256=actual_sha256,
            size=SIZE,
            resize=resize,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
        )
        self.num_features = tensors["pos_embed"].shape[-1]


def _resize_positions(positions: Tensor) -> Tensor:
    """Position embeddings `(1, 1 + N, d)` interpolated from the training size to 224 pixels as in Meta's code.

    timm's interpolation, antialiased and without the offset of 0.1 patches, gives other features.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    if side == GRID:
        return positions
    maps = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps.float(), scale_factor=(GRID + 0.1) / side, mode="bicubic")
    return torch.cat([token, maps.flatten(2).transpose(1, 2)], dim=1)
