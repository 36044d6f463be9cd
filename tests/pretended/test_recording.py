"""A recorded step, replayed as a CUDA graph is: right where it could be captured, wrong where it could not."""

import pytest
import torch
from torch import nn

from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing import FAKE
from lightning_gen.testing.on_device import Run


class Training:
    """A small network whose learning rate is a tensor, with noise, batch statistics and fused Adam."""

    def __init__(self, gpu):
        torch.manual_seed(0)
        layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)
        self.network = nn.Sequential(*layers).to(gpu.device)
        self.rate = torch.full((), 0.1, device=gpu.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.rate, fused=True)
        self.images = torch.randn(6, 3, device=gpu.device)

    def step(self):
        noisy = self.images + torch.randn_like(self.images)
        self.network(noisy).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state(self):
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return [tensor.cpu() for tensor in (*self.network.state_dict().values(), *moments)]


def test_replayed_steps_are_those_of_eager_training(gpu):
    states = []
    for replayed in (False, True):
        training, step = Training(gpu), None
        for number in range(5):
            torch.manual_seed(number)
            training.rate.fill_(0.1 / (1 + number))
            training.images.normal_()
            if replayed and number == 2:
                before = training.state()
                step = gpu.record(training.step).replay
                torch.testing.assert_close(training.state(), before, rtol=0, atol=0)  # recording does nothing
            (step or training.step)()
        states.append(training.state())
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_numbers_of_the_recording_are_kept(gpu):
    x, rate, on_cpu = torch.zeros(2, device=gpu.device), 1.0, torch.tensor(10.0)

    def step():
        x.add_(rate)
        x.add_(on_cpu)

    recording = gpu.record(step)
    rate = 2.0
    on_cpu.fill_(20)
    recording.replay()
    assert x.tolist() == [11, 11]


def test_state_that_is_made_anew_starts_again_at_each_replay(gpu):
    x, total = torch.ones(2, device=gpu.device), None

    def step():
        nonlocal total
        if total is None:
            total = torch.zeros_like(x)
        total.add_(x)

    recording = gpu.record(step)
    assert total.isnan().all()  # nothing has run
    for _ in range(3):
        recording.replay()
    assert total.tolist() == [1, 1]


def test_pinned_memory_is_read_again_at_each_replay(gpu):
    x, pinned = torch.zeros(2, device=gpu.device), torch.zeros(2, pin_memory=True)
    recording = gpu.record(lambda: x.copy_(pinned, non_blocking=True))
    pinned.fill_(3)
    recording.replay()
    assert x.tolist() == [3, 3]


@pytest.mark.parametrize(
    "wait", [torch.Tensor.item, torch.Tensor.cpu, lambda x: x.fill_(torch.tensor(1.0).to(x.device))]
)
def test_refuses_to_record_what_the_host_waits_for(gpu, wait):
    x = torch.ones((), device=gpu.device)

    def step():
        x.add_(1)
        wait(x)

    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        gpu.record(step)
    assert x.item() == 1


@pytest.mark.parametrize("model", [["model=vae", "schedule@model.schedule=constant"], ["model=dcgan"]], ids=" ".join)
def test_replayed_steps_of_a_model_are_those_of_eager_training(gpu, model):
    states = []
    for replayed in (False, True):
        run = Run(gpu, *model, *FAKE, "data.image_shape=[1,16,16]", "data.batch_size=4", "model.ema_decay=null")
        [batch] = next(run.batches)
        step = None
        for number in range(5):
            torch.manual_seed(number)
            batch.images.uniform_(-1, 1)
            if replayed and number == 2:
                step = gpu.record(lambda run=run, batch=batch: run.model.step(batch)).replay
            step() if step else run.model.step(batch)
        states.append([tensor.cpu() for tensor in run.model.state_dict().values()])
    torch.testing.assert_close(*states, rtol=0, atol=0)
