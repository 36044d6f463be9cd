"""cuDNN's rules for recurrent layers, on the pretended device.

A backward pass only in training mode, and none of the backward pass; float16 under autocast, whatever its type. The
cells, which have kernels of their own, run in autocast's type.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.testing.pretended_tensor import DEVICE_TYPE, PretendedTensor

STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1}  # of a layer: hidden, and the cell of an LSTM


class OnceOnly(torch.autograd.Function):
    """The identity of gradients, which has no gradient."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError("Double backwards is not supported for CuDNN RNNs due to limitations in the CuDNN API")


class CuDNN(torch.autograd.Function):
    """Outputs and last states of all layers; the tensors are inputs, first states, and the weights of each layer."""

    @staticmethod
    def forward(ctx: Any, kind: str, train: bool, batch_first: bool, layers: int, *tensors: Tensor) -> Any:
        ctx.settings, ctx.train = (kind, batch_first, layers), train
        ctx.save_for_backward(*tensors)
        return _unrolled(*ctx.settings, *tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        if not ctx.train:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        again = torch.is_grad_enabled()
        with torch.enable_grad(), torch.autocast(DEVICE_TYPE, enabled=False):
            given = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
            outputs = _unrolled(*ctx.settings, *given)
            found = torch.autograd.grad(outputs, given, gradients, allow_unused=True)
        plain = [None if each is None else each.detach() for each in found]
        if again:
            plain = [None if each is None else OnceOnly.apply(each.requires_grad_()) for each in plain]
        return None, None, None, None, *plain


def _unrolled(kind: str, batch_first: bool, layers: int, inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    first, weights = rest[: STATES[kind]], rest[STATES[kind] :]
    states, outputs = [], inputs.unbind(1 if batch_first else 0)
    for layer in range(layers):
        state, collected = tuple(each[layer] for each in first), []
        for step in outputs:
            state = _next(kind, step, state, *weights[4 * layer : 4 * layer + 4])
            collected.append(state[0])
        outputs = collected
        states.append(state)
    return torch.stack(outputs, 1 if batch_first else 0), *(torch.stack(each) for each in zip(*states, strict=True))


def _next(kind: str, inputs: Tensor, state: tuple[Tensor, ...], *weights: Tensor) -> tuple[Tensor, ...]:
    """The next state, by the formulas of nn.LSTM, nn.GRU and nn.RNN."""
    of_input, of_hidden, input_bias, hidden_bias = weights
    a, b = F.linear(inputs, of_input, input_bias), F.linear(state[0], of_hidden, hidden_bias)
    if kind == "rnn_tanh":
        return ((a + b).tanh(),)
    if kind == "lstm":
        i, f, g, o = (a + b).chunk(4, 1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell
    (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
    z, n = (az + bz).sigmoid(), (an + (ar + br).sigmoid() * bn).tanh()
    return (n + z * (state[0] - n),)


def layer_of(kind: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """`torch._VF.lstm`, `gru` or `rnn_tanh`, by cuDNN's rules for tensors of the device, unless cuDNN is off."""

    def run(inputs, hx, weights, has_biases, layers, dropout, train, bidirectional, batch_first):
        if not isinstance(inputs, PretendedTensor):
            return plain(inputs, hx, weights, has_biases, layers, dropout, train, bidirectional, batch_first)
        if not has_biases or bidirectional or dropout:
            raise NotImplementedError("only layers with biases, in one direction, without dropout are pretended")
        tensors = [inputs, *(hx if kind == "lstm" else (hx,)), *weights]
        if not torch.backends.cudnn.enabled:
            return _unrolled(kind, batch_first, layers, *tensors)
        if torch.is_autocast_enabled(DEVICE_TYPE):
            tensors = [tensor.half() for tensor in tensors]
        with torch.autocast(DEVICE_TYPE, enabled=False):
            return CuDNN.apply(kind, train, batch_first, layers, *tensors)

    return run


def cell_of(kind: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """`torch._VF.lstm_cell`, `gru_cell` or `rnn_tanh_cell`."""

    def run(inputs, hx, *weights):
        if not isinstance(inputs, PretendedTensor):
            return plain(inputs, hx, *weights)
        tensors = [inputs, *(hx if kind == "lstm" else (hx,)), *weights]
        if torch.is_autocast_enabled(DEVICE_TYPE):
            tensors = [tensor.to(torch.get_autocast_dtype(DEVICE_TYPE)) for tensor in tensors]
        n = 1 + STATES[kind]
        with torch.autocast(DEVICE_TYPE, enabled=False):
            state = _next(kind, tensors[0], tuple(tensors[1:n]), *tensors[n:])
        return state if kind == "lstm" else state[0]

    return run
