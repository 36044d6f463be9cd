"""CLIP's image encoders, https://arxiv.org/abs/2103.00020, as torch-fidelity builds them."""

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.network_extractor import NetworkExtractor, named
from lightning_gen.extractors.resizing import Protocol
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file


class Clip(NetworkExtractor):
    """The image embeddings of a `variant` that torch-fidelity knows, such as clip-vit-b-32; in it they are "clip".

    `weights` is a file whose sha256 must begin with `sha256` (null: torch.hub's cache, else downloaded): OpenAI's
    archive, or a state dict with the tensors named `visual...`. They are rounded to half precision, in which they were
    published.
    """

    def __init__(self, variant: str, weights: str | None, sha256: str, resize: Protocol):
        name = variant.replace("-", "_")
        key = f"extractor.{name}"
        try:
            from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS, build_model
        except ImportError:
            raise UserError(
                f"extractor={name}: package torch-fidelity is missing: pip install 'lightning-gen[fidelity]', "
                "or give extractor=efficientnet_lite0"
            ) from None
        if variant not in MODEL_URLS:
            raise UserError(f"{key}.variant={variant}: choose one of {', '.join(MODEL_URLS)}")
        # The name that torch-fidelity gives it in the cache: what it has downloaded is found.
        cached = f"{variant}-{MODEL_METADATA[variant]['hash']}.pt"
        path = weights_file(weights, MODEL_URLS[variant], f"{key}.weights", cached)
        found = check_hash(path, sha256, f"{key}.sha256")
        try:
            visual = build_model(_visual(path, f"{key}.weights"), torch.float32).visual
        except (KeyError, RuntimeError, IndexError, ZeroDivisionError):
            raise UserError(f"{key}.weights={path}: holds the weights of another network") from None
        super().__init__(
            named(name, resize),
            visual,
            sha256=found,
            size=visual.input_resolution,
            resize=resize,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        )
        self.num_features = visual.output_dim


def _visual(path: Path, key: str) -> dict[str, Tensor]:
    """The image encoder's tensors in a file whose hash has been checked."""
    if _is_torchscript(path):
        with warnings.catch_warnings():  # TorchScript is deprecated; the weights are published in nothing else
            warnings.simplefilter("ignore")
            tensors = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        tensors = read_state_dict(path, key)
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("visual.")}
    last = "visual.proj" if "visual.proj" in tensors else "visual.attnpool.c_proj.bias"
    # The number of features is read off the text encoder, which is not built.
    return tensors | {"text_projection": tensors[last].new_zeros(0, tensors[last].shape[-1])}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
