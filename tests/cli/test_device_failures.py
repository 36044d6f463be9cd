"""What a GPU user meets first: errors of CUDA, its driver and other processes in one line, and doctor's report."""

import shutil
from collections import namedtuple

import pytest
import torch

from lightning_gen.callbacks import rank_watch
from lightning_gen.cli import machine
from lightning_gen.cli.failures import explain_failure
from lightning_gen.training.checks import device_notes
from lightning_gen.utilities import hardware

HINTS = "\nCUDA kernel errors might be asynchronously reported at some other API call.\nFor debugging consider"


@pytest.mark.parametrize(
    ("error", "command", "fix"),
    [
        ("CUDA error: no kernel image is available for execution on the device", "train", "or use trainer=cpu"),
        ("CUDA error: no kernel image is available for execution on the device", "sample", "or use device=cpu"),
        ("CUDA driver version is insufficient for CUDA runtime version", "train", "update the NVIDIA driver"),
        ("The NVIDIA driver on your system is too old (found version 12020). Please", "train", "update the NVIDIA"),
        ("CUDA error: forward compatibility was attempted on non supported HW", "train", "update the NVIDIA driver"),
        ("Found no NVIDIA driver on your system. Please check", "sample", "use device=cpu"),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", "train", "trainer.devices=[1]"),
        ("CUDA error: uncorrectable ECC error encountered", "evaluate", "device=cuda:1, or reboot"),
        ("InvalidCxxCompiler: No working C++ compiler found in torch", "train", "leave out model.compile"),
        ("RuntimeError: Failed to find C compiler. Please specify", "train", "leave out model.compile"),
        ("The server socket has failed to listen on port: 1, name: EADDRINUSE", "train", "set MASTER_PORT"),
        ("Timed out after 1801 seconds waiting for clients. 1/2 clients joined.", "train", "trainer.num_nodes"),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "train", "model.accumulate=2"),
    ],
)
def test_a_failure_is_one_line_with_its_fix(error, command, fix):
    line = explain_failure(RuntimeError(error + HINTS), command)
    assert line is not None
    assert line.startswith(f"{command}: ")
    assert fix in line
    assert "\n" not in line
    assert "kernel errors might" not in line


@pytest.mark.parametrize("error", ["CUDA error: device-side assert triggered", "CUDA error: an illegal memory access"])
def test_a_bug_on_the_device_keeps_its_traceback(error):
    assert explain_failure(RuntimeError(error + HINTS), "train") is None


def test_out_of_memory_is_told_without_advice_on_the_allocator():
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.20 GiB is "
        "free. Including non-PyTorch memory, this process has 14.50 GiB memory in use. If reserved but unallocated"
    )
    line = explain_failure(torch.cuda.OutOfMemoryError(text), "train")
    assert line is not None
    assert "1.20 GiB is free); give a smaller data.batch_size or model, or" in line


def pretend_gpus(monkeypatch, failure: str | None = None, capability: tuple[int, int] = (9, 0)) -> None:
    def ones(*size, device):
        if failure:
            raise RuntimeError(failure + HINTS)
        return torch.zeros(*size)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    values = {
        "is_available": True,
        "device_count": 1,
        "mem_get_info": (2**30, 2**31),
        "get_device_name": "NVIDIA H200",
        "get_device_capability": capability,
    }
    for name, value in values.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(machine, "torch", Torch(ones))


class Torch:
    """`torch`, with another `ones`."""

    def __init__(self, ones):
        self.ones = ones

    def __getattr__(self, name):
        return getattr(torch, name)


def test_doctor_describes_a_gpu(monkeypatch, tmp_path):
    driver = tmp_path / "version"
    driver.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 2025\nGCC version: 12.3.0\n"
    )
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", driver)
    pretend_gpus(monkeypatch)
    lines = list(machine.machine())
    assert any(line.startswith("NVIDIA driver 580.65.06, CUDA 13.0, cuDNN ") for line in lines)
    assert "cuda:0: NVIDIA H200, 1.0 GiB of 2.0 GiB free, compute capability 9.0, bf16 and TF32" in lines
    pretend_gpus(monkeypatch, capability=(7, 5))
    assert any(line.endswith("7.5, no bf16, no TF32: trainer.precision=16-mixed") for line in machine.machine())


@pytest.mark.parametrize(
    ("device", "precision", "capability", "told"),
    [
        ("cuda", "bf16-mixed", (7, 5), True),
        ("cuda", "bf16-mixed", (8, 0), False),
        ("cuda", "32-true", (7, 5), False),
        ("cpu", "bf16-mixed", (7, 5), False),
    ],
)
def test_a_run_is_told_that_a_gpu_emulates_bfloat16(device, precision, capability, told, monkeypatch):
    pretend_gpus(monkeypatch, capability=capability)
    notes = device_notes(torch.device(device), precision)
    assert [note.endswith("use 16-mixed or 32-true") for note in notes] == [True] * told


def test_doctor_tries_a_kernel(monkeypatch):
    pretend_gpus(monkeypatch, failure="CUDA error: no kernel image is available for execution on the device")
    (line,) = [line for line in machine.machine() if "cuda:0" in line]
    assert line.startswith("! cuda:0: CUDA error: no kernel image is available")
    assert "install one that has" in line


def test_doctor_says_why_there_is_no_gpu(monkeypatch, tmp_path):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020). Please update your GPU")

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(machine, "NVIDIA_DRIVER", tmp_path)
    (line,) = [line for line in machine.machine() if "CUDA" in line]
    assert line.startswith("! no CUDA device, with this PyTorch for CUDA 13.0: The NVIDIA driver on your system is too")
    assert "; update the NVIDIA driver" in line


def test_doctor_knows_that_containers_have_little_shared_memory(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**26, 0, 2**26))
    assert any(line.startswith(f"! {tmp_path} has 64.0 MiB") for line in machine.machine())


def test_a_rank_that_waited_too_long_names_the_timeout(monkeypatch, capsys):
    watch = rank_watch.RankWatch()
    monkeypatch.setattr(rank_watch, "is_distributed", lambda: True)
    monkeypatch.setattr(watch, "_wait_for_death", lambda trainer: False)
    monkeypatch.delenv("LIGHTNING_GEN_TRACEBACK", raising=False)
    trainer = type("Trainer", (), {"world_size": 2, "global_rank": 1})()
    error = RuntimeError(
        "[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 2000ms for recv operation to comp"
    )
    with pytest.raises(SystemExit):
        watch._explain(error, trainer, lambda: ", at 8 images")
    assert capsys.readouterr().err == (
        "error: rank 1: waited too long for the others; raise trainer.timeout if they were at work, at 8 images\n"
    )
    assert "trainer.timeout" in str(rank_watch._reason(-6))
