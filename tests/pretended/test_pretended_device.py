"""The pretended GPU refuses, notes and records what a real one would, with the values of the CPU."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.pretended_autocast import autocast
from lightning_gen.testing.pretended_device import PretendedDevice, differences


def on(gpu, *values, **options):
    return torch.tensor(values, device=gpu.device, **options)


def test_values_are_those_of_the_cpu(gpu):
    layer = nn.LSTM(3, 4, 2, batch_first=True)
    inputs = torch.randn(2, 5, 3)
    expected, _ = layer(inputs)
    expected.sum().backward()
    gradients = [p.grad for p in layer.parameters()]
    layer.zero_grad(set_to_none=True)
    layer.to(gpu.device)
    outputs, _ = layer(inputs.to(gpu.device))
    outputs.sum().backward()
    assert outputs.device == gpu.device
    torch.testing.assert_close(outputs.cpu(), expected)
    torch.testing.assert_close([p.grad.cpu() for p in layer.parameters()], gradients)


def test_nothing_stays_patched():
    patched = (torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "tolist"), (torch._VF, "lstm"), (torch._VF, "gru")
    before = [getattr(*each) for each in patched]
    with PretendedDevice():
        assert all(getattr(*each) is not plain for each, plain in zip(patched, before, strict=True))
    assert [getattr(*each) for each in patched] == before
    assert not torch.__future__.get_overwrite_module_params_on_conversion()


@pytest.mark.parametrize(
    "mixing",
    [
        lambda x: x + torch.ones(2),
        lambda x: F.linear(x, torch.ones(3, 2)),
        lambda x: torch.cat([x, torch.ones(2)]),
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: torch.randn(2, device=x.device, generator=torch.Generator()),
    ],
)
def test_refuses_to_mix_devices(gpu, mixing):
    with pytest.raises(RuntimeError, match=r"same device|generator"):
        mixing(on(gpu, 1.0, 2.0))


@pytest.mark.parametrize(
    ("wait", "what"),
    [
        (lambda x: x.sum().item(), "_local_scalar_dense"),
        (lambda x: bool((x > 0).all()), "_local_scalar_dense"),
        (lambda x: x.cpu(), "copy to the CPU"),
        (lambda x: x.tolist(), "copy to the CPU"),
        (lambda x: torch.empty(2).copy_(x), "copy to the CPU"),
        (lambda x: x[x > 0], "boolean mask"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x[torch.tensor([0])], "index on the CPU"),
        (lambda x: torch.ones(2).to(x.device), "copy of unpinned memory"),
        (lambda x: torch.ones(2).pin_memory().to(x.device), "copy of unpinned memory"),
        (lambda x: x.new_tensor([1.0, 2.0]), "copy of unpinned memory"),
        (lambda x: torch.tensor(3.0, device=x.device), "a number from the CPU"),
    ],
)
def test_notes_what_the_host_waits_for(gpu, wait, what):
    x = on(gpu, 1.0, 2.0)
    with gpu.trace() as trace:
        wait(x)
    assert [line.partition(" at ")[0] for line in trace.waits] == [what]
    assert "test_pretended_device.py" in next(iter(trace.waits))


def test_does_not_wait_where_a_gpu_does_not(gpu):
    x, pinned = on(gpu, 1.0, 2.0), torch.ones(2).pin_memory()
    with gpu.trace() as trace:
        x.add_(pinned.to(x.device, non_blocking=True)).mul_(torch.tensor(2.0))
        x.copy_(pinned, non_blocking=True)
        x[x > 0] = 3.0
        torch.where(x > 0, x, 0.0).clamp(0, 1).sum(0)
        torch.arange(2, device=x.device).repeat_interleave(2)
    assert not trace.waits


def test_counts_kernels_and_the_bytes_that_they_write(gpu):
    x = torch.ones(4, 8, device=gpu.device)
    with gpu.trace() as trace:
        y = x.view(2, 16)[:1] * 2  # views are free
        y.to(torch.bfloat16)
    assert trace.kernels == 2
    assert trace.bytes_written() == {torch.float32: 64, torch.bfloat16: 32}
    assert not trace.bytes_written(lambda shape: len(shape) == 4)


def test_numbers_that_change_from_step_to_step_are_told(gpu):
    x, rate = on(gpu, 1.0, 2.0), torch.tensor(0.0)
    traces = []
    for step in range(2):
        rate.fill_(step)
        with gpu.trace() as trace:
            x.mul_(2).add_(x, alpha=step + 2)
            x.sub_(rate)  # a number on the CPU is an argument of the kernel
        traces.append(trace)
    assert [line.partition(" at ")[0] for line in differences(*traces)] == [
        "aten.add_.Tensor: 2 and 3",
        "aten.sub_.Tensor: 0.0 and 1.0",
    ]
    with gpu.trace() as longer:
        x.mul_(2)
    assert differences(traces[0], longer) == ["aten.add_.Tensor: 1 and 0 times", "aten.sub_.Tensor: 1 and 0 times"]


def test_cudnn_has_no_backward_of_rnns_in_evaluation_and_none_of_the_backward(gpu):
    layer = nn.GRU(3, 4).to(gpu.device)
    inputs = torch.randn(5, 2, 3, device=gpu.device, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(inputs)[0].square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="Double backwards is not supported"):
        gradient.square().sum().backward()
    layer.eval()
    with pytest.raises(RuntimeError, match="can only be called in training mode"):
        layer(inputs)[0].sum().backward()
    with torch.backends.cudnn.flags(enabled=False):
        layer(inputs)[0].sum().backward()


def test_autocast_has_the_lists_of_cuda(gpu):
    maps, weight = torch.randn(2, 3, 8, 8, device=gpu.device), torch.randn(4, 3, 3, 3, device=gpu.device)
    with autocast():
        convolved = F.conv2d(maps, weight)
        assert convolved.dtype == torch.bfloat16
        assert F.leaky_relu(convolved).dtype == torch.bfloat16
        assert convolved.square().mean((2, 3), keepdim=True).rsqrt().dtype == torch.float32
        assert F.interpolate(convolved, scale_factor=2, mode="bilinear").dtype == torch.float32
        assert F.softplus(convolved).dtype == torch.float32
        assert nn.LSTM(6, 4).to(gpu.device)(maps[0, :, :, :6])[0].dtype == torch.float16
    assert F.conv2d(maps, weight).dtype == torch.float32
