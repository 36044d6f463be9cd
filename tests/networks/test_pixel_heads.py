"""The heads of pixel and code models: the same as products one by one, without copies of their weights."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_gen.networks.code_network import CodeHead
from lightning_gen.networks.pixel_network import PixelHead, per_channel_product
from lightning_gen.networks.pixel_rnn import DiagonalLSTM


class LargestTensor(TorchDispatchMode):
    """Notes the most elements that the output of an operation has in memory."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        sizes = [each.untyped_storage().nbytes() // 4 for each in tree_leaves(output) if isinstance(each, torch.Tensor)]
        self.numel = max(self.numel, *sizes, 0)
        return output


def test_product_per_channel():
    values, weight = torch.randn(2, 4, 3, 5), torch.randn(3, 5, 7)
    one_by_one = torch.stack([values[..., channel, :] @ weight[channel] for channel in range(3)], dim=-2)
    torch.testing.assert_close(per_channel_product(values, weight), one_by_one)


@pytest.mark.parametrize("head", [PixelHead, CodeHead])
def test_heads_copy_no_weights(head):
    network, batch, hidden = head(8, 3, 20, 16), 64, 3 * 16
    features, values = torch.randn(batch, 8, requires_grad=True), torch.zeros(batch, 3)
    with LargestTensor() as largest:
        network(features, values).sum().backward()
    assert largest.numel <= batch * max(hidden, 3 * 20)


def test_diagonal_lstm_copies_no_weights():
    layer, batch = DiagonalLSTM(features=4, hidden=8, residual=True), 32
    inputs = torch.randn(batch, 2, 2, 4, requires_grad=True)
    with LargestTensor() as largest:
        layer(inputs).sum().backward()
    assert largest.numel <= 2 * batch * 4 * 4 * 8  # the gates of both directions
