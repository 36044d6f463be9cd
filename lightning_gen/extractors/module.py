"""Any network as an extractor: `extractor=module extractor.module.network._target_=my_package.Net`."""

from typing import Any

import torch
from torch import nn

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.extractors.network_extractor import NetworkExtractor
from lightning_gen.extractors.resizing import ResizeMode
from lightning_gen.extractors.weights import hash_of, read_state_dict, weights_file

KEY = "extractor.module"


class ModuleExtractor(NetworkExtractor):
    """Outputs of `network` on images `(B, C, size, size)`, averaged over positions or flattened.

    C is the length of `mean`; `mean` and `std` are of images in [0, 1]. `weights` is a file with the network's state
    dict (null: it has its weights already). `name` is part of score names; the protocol has the hash of the state dict,
    since a network with random weights differs in each run.
    """

    def __init__(
        self,
        network: nn.Module,
        name: str,
        size: PositiveInt,
        resize: ResizeMode,
        mean: list[float],
        std: list[PositiveFloat],
        weights: str | None,
    ):
        if not isinstance(network, nn.Module):
            raise UserError(f"{KEY}.network: makes a {type(network).__name__}, give the _target_ of an nn.Module")
        if len(mean) not in (1, 3, 4) or len(std) != len(mean):
            raise UserError(f"{KEY}.mean={mean}: give 1 (gray), 3 (RGB) or 4 values, and as many in std")
        if weights is not None:
            _load(network, weights)
        sha256 = hash_of(network.state_dict())
        super().__init__(name, network, sha256=sha256, size=size, resize=resize, mean=mean, std=std)
        self.num_features = self._count_features()
        self.target = f"{type(network).__module__}.{type(network).__qualname__}"

    def _count_features(self) -> int:
        black = torch.zeros(1, self.channels, self.size, self.size, dtype=torch.uint8)
        try:
            features = self(black)
        except Exception as error:  # raised by foreign code
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{KEY}.network: {type(self.network).__name__} fails on images {tuple(black.shape)}: {reason}"
            ) from error
        return features.shape[1]

    def protocol(self) -> dict[str, Any]:
        """Weights, class and preprocessing."""
        return super().protocol() | {"network": self.target}


def _load(network: nn.Module, weights: str) -> None:
    key = f"{KEY}.weights"
    path = weights_file(weights, "", key)
    try:
        network.load_state_dict(read_state_dict(path, key))
    except RuntimeError:
        raise UserError(f"{key}={path}: holds the weights of another network than {type(network).__name__}") from None
