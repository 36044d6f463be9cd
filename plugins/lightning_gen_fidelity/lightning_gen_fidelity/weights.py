"""Weights for torch-fidelity, which unpickles them unchecked: hashes and contents are checked first."""

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS
from torch_fidelity.feature_extractor_dinov2 import MODEL_METADATA as DINOV2
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torchvision.models import VGG16_Weights

from lightning_gen.errors import UserError
from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0
from lightning_gen.extractors.weights import check_hash, read_state_dict, weights_file
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen_fidelity.offline import NAME

# torch-fidelity's names of extractors that are not ours with hyphens.
OTHERS = {"inception": "inception-v3-compat", "efficientnet_lite0": NAME}
# First digits of the sha256 of published weights; torch-fidelity has those of CLIP.
PUBLISHED = {"inception-v3-compat": "6726825d", "vgg16": "397923af"}


class Weights:
    """The weights of an extractor by its name in lightning-gen (`inception`, `clip_vit_b_32`), found and checked.

    `name` is its name in torch-fidelity. Raises UserError before any sample is drawn.
    """

    path: Path | None = None
    sha256: str | None = None

    def __init__(self, extractor: str, path: str | None, sha256: str | None):
        self.key = "metrics.torch_fidelity"
        self.name = OTHERS.get(extractor, extractor.replace("_", "-"))
        if extractor not in OTHERS and self.name not in ("vgg16", *MODEL_URLS, *DINOV2):
            ours = [*OTHERS, *(name.replace("-", "_") for name in ("vgg16", *MODEL_URLS, *DINOV2))]
            fix = did_you_mean(extractor, ours) or f"; choose one of {', '.join(ours)}"
            raise UserError(f"{self.key}.extractor={extractor}: torch-fidelity has no such extractor{fix}")
        if self.name == NAME:
            self.sha256 = EfficientNetLite0().sha256
            if path is not None or sha256 is not None:
                raise UserError(
                    f"{self.key}.weights={path}: efficientnet_lite0 has its weights in a package; give null"
                )
            return
        if self.name in DINOV2:
            self._check_code_of_dinov2(extractor, path)
            return
        urls = {"inception-v3-compat": URL_INCEPTION_V3, "vgg16": VGG16_Weights.IMAGENET1K_V1.url} | MODEL_URLS
        cached = f"{self.name}-{self._published()}.pt" if self.name in MODEL_URLS else None
        self.path = weights_file(path, urls[self.name], f"{self.key}.weights", cached)
        self.sha256 = check_hash(self.path, sha256 or self._published(), f"{self.key}.sha256")

    def _published(self) -> str:
        return PUBLISHED.get(self.name) or MODEL_METADATA[self.name]["hash"]

    @property
    def are_published(self) -> bool:
        """Whether the weights are the published Inception weights, for which the Fréchet distance is FID."""
        return self.name == "inception-v3-compat" and (self.sha256 or "").startswith(PUBLISHED[self.name])

    def _check_code_of_dinov2(self, extractor: str, path: str | None) -> None:
        """UserError unless the user has fetched DINOv2's code to torch.hub, from where torch-fidelity runs it."""
        if path is not None:
            raise UserError(f"{self.key}.weights={path}: torch-fidelity reads DINOv2 from torch.hub alone; give null")
        cache = Path(torch.hub.get_dir(), "facebookresearch_dinov2_main")
        if not cache.is_dir():
            raise UserError(
                f"{self.key}.extractor={extractor}: torch-fidelity runs Meta's code for it, which is not in {cache}; "
                f'fetch it with torch.hub.load("facebookresearch/dinov2", "{DINOV2[self.name]}"), or use '
                f"extractor={extractor} and metrics=[frechet], which need no such code"
            )

    def as_argument(self) -> Any:
        """torch-fidelity's argument for the weights: a path, or a file of tensors that were read safely."""
        if self.path is None or self.name in MODEL_URLS:
            return self.path and str(self.path)
        file = BytesIO()
        torch.save(read_state_dict(self.path, f"{self.key}.weights"), file)
        file.seek(0)
        return file


def checked_in_cache(url: str, start: str, metric: str) -> Path:
    """A file in torch.hub's cache for torch-fidelity: downloaded if missing, and checked to hold only tensors."""
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"metrics=[{metric}]: {path.name} could not be downloaded ({reason}); get it from {url} and put it at "
                f"{path}"
            ) from None
    if start:
        check_hash(path, start, f"metrics=[{metric}]: {path.name}")
    read_state_dict(path, f"metrics=[{metric}]: {path.name}")
    return path
