"""Recurrent layers in float32, with derivatives wherever they are asked for."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.utilities.autocast import without_autocast


def run(layer: nn.RNNBase | nn.RNNCellBase, inputs: Tensor, state: Any, *, differentiable_twice: bool = False) -> Any:
    """What `layer` returns, in float32 under autocast too.

    There cuDNN's layers run in float16 whatever the type of autocast, so without loss scaling under bfloat16, and most
    CPUs have no 16-bit ones.
    """
    # cuDNN has no backward pass of a layer in evaluation mode, and no second one at all.
    fit_for_cudnn = not differentiable_twice and (layer.training or not torch.is_grad_enabled())
    with without_autocast(inputs.device), nullcontext() if fit_for_cudnn else without_cudnn():
        return layer(inputs.float(), state)


@contextmanager
def without_cudnn() -> Iterator[None]:
    """PyTorch's own kernels; `torch.backends.cudnn.flags` would also change the precision of float32."""
    enabled = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = enabled
