"""CLIP's image encoders, https://arxiv.org/abs/2103.00020, as torch-fidelity builds them."""

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from lightning_gen.errors import UserError, missing_package
from lightning_gen.extractors.network_extractor import NetworkExtractor, name_with
from lightning_gen.extractors.resizing import ResizeMode
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file


class Clip(NetworkExtractor):
    """The image embeddings (torch-fidelity's "clip" features) of a `variant` of torch-fidelity such as clip-vit-b-32.

    `weights` is a file whose sha256 must begin with `sha256` (null: torch.hub's cache, else downloaded): OpenAI's
    archive, or a state dict with the tensors named `visual...`. They are rounded to half precision, as published.
    """

    def __init__(self, variant: str, weights: str | None, sha256: str, resize: ResizeMode):
        name = variant.replace("-", "_")
        key = f"extractor.{name}"
        try:
            from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS, build_model
        except ImportError:
            other = "extractor=efficientnet_lite0"
            raise missing_package(f"extractor={name}", "torch-fidelity", "fidelity", other) from None
        if variant not in MODEL_URLS:
            raise UserError(f"{key}.variant={variant}: choose one of {', '.join(MODEL_URLS)}")
        # torch-fidelity's file name, so that its downloads are found in the cache.
        cached = f"{variant}-{MODEL_METADATA[variant]['hash']}.pt"
        path = weights_file(weights, MODEL_URLS[variant], f"{key}.weights", cached)
        actual_sha256 = check_hash(path, sha256, f"{key}.sha256")
        if (
            _is_torchscript(path) and sha256.lower() != actual_sha256
        ):  # it can hold code, which a prefix doesn't identify
            raise UserError(f"{key}.sha256={sha256}: give all digits for OpenAI's archives, {actual_sha256}")
        try:
            visual = build_model(_visual(path, f"{key}.weights"), torch.float32).visual
        except (KeyError, RuntimeError, IndexError, ZeroDivisionError):
            raise UserError(f"{key}.weights={path}: holds the weights of another network") from None
        super().__init__(
            name_with(name, resize),
            visual,
            sha256=actual_sha256,
            size=visual.input_resolution,
            resize=resize,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        )
        self.num_features = visual.output_dim


def _visual(path: Path, key: str) -> dict[str, Tensor]:
    """The image encoder's tensors in a file whose hash is checked."""
    if _is_torchscript(path):
        with warnings.catch_warnings():  # TorchScript is deprecated, but the only published format
            warnings.simplefilter("ignore")
            tensors = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        tensors = read_state_dict(path, key)
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    last = "visual.proj" if "visual.proj" in tensors else "visual.attnpool.c_proj.bias"
    # torch-fidelity reads the number of features from the text encoder, which is not built.
    return tensors | {"text_projection": tensors[last].new_zeros(0, tensors[last].shape[-1])}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
