"""The precision of float32 on NVIDIA's GPUs: that of IEEE 754, or TensorFloat-32, which is faster, with 10 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

cudnn: Any = torch.backends.cudnn  # an object in place of the module that type checkers see


def use_tf32(enabled: bool) -> None:
    """Choose the precision of matrix products, convolutions and recurrent layers."""
    torch.set_float32_matmul_precision("high" if enabled else "highest")
    # The older flag first: reading it raises an error where it contradicts the newer ones.
    cudnn.allow_tf32 = enabled
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32" if enabled else "ieee"


@contextmanager
def ieee_float32() -> Iterator[None]:
    """IEEE float32 within the context."""
    matmul = torch.get_float32_matmul_precision()
    conv, rnn = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    use_tf32(False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32 = conv == "tf32"
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = conv, rnn
