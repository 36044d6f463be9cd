"""CUDA's autocast on the pretended device, by the lists of aten/src/ATen/autocast_mode.h, which the CPU's differ from.

Importing this module registers its kernels in the process, for good; they concern the pretended device alone. Recurrent
layers are in pretended_rnn.py.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_gen.testing.pretended_tensor import DEVICE_TYPE, leaves, mapped

Cast = Callable[[Any], Any]


def autocast(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    """`torch.autocast("cuda", dtype)`, with the settings of Lightning's `bf16-mixed`, on the pretended device."""
    return torch.autocast(DEVICE_TYPE, dtype, cache_enabled=False)


def _casts(tensor: Any) -> bool:
    return (
        isinstance(tensor, Tensor)
        and tensor.is_floating_point()
        and tensor.dtype != torch.float64
        and tensor.device.type == DEVICE_TYPE
    )


def _to(dtype: torch.dtype, arguments: Any) -> Any:
    return mapped(lambda each: each.to(dtype) if _casts(each) else each, arguments)


def _lower(arguments: Any) -> Any:
    return _to(torch.get_autocast_dtype(DEVICE_TYPE), arguments)


def _float32(arguments: Any) -> Any:
    return _to(torch.float32, arguments)


def _widest(arguments: Any) -> Any:
    dtypes = {each.dtype for each in leaves(arguments) if _casts(each)}
    return _to(torch.float32, arguments) if torch.float32 in dtypes else _lower(arguments)


def _kernel(operation: Callable[..., Any], cast: Cast) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = cast((args, kwargs))
        with torch.autocast(DEVICE_TYPE, enabled=False):
            return operation(*args, **kwargs)

    return run


LISTS = {
    _lower: """convolution _convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input
    conv_transpose3d.input prelu addmm addmv addr matmul einsum mm mv linear addbmm baddbmm bmm chain_matmul
    linalg_multi_dot scaled_dot_product_attention""",
    _float32: """acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar
    pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm group_norm nuclear_norm cosine_similarity
    poisson_nll_loss cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss smooth_l1_loss
    huber_loss mse_loss margin_ranking_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss
    multi_margin_loss binary_cross_entropy_with_logits dist pdist cdist renorm logsumexp upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa
    upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa prod prod.dim_int softmax.int log_softmax.int cumprod
    cumsum sum sum.dim_IntList norm.Scalar norm.ScalarOpt_dim""",
    _widest: "addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add",
}


def _register() -> list[torch.library.Library]:
    others = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    others.fallback(torch.library.fallthrough_kernel)
    ours = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    for cast, names in LISTS.items():
        for name in names.split():
            packet, _, overload = name.partition(".")
            operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
            ours.impl(name, _kernel(operation, cast))
    return [others, ours]


_LIBRARIES = _register()  # their kernels are gone when they are
