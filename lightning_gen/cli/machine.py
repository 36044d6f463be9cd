"""What `lightning-gen doctor` says of the machine: processors, GPUs and their driver, and whether they compute."""

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.cuda.nccl

from lightning_gen.cli.device_failures import explain_device_failure
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.utilities.hardware import NVIDIA_DRIVER, free_memory, num_processors, nvidia_driver

SHARED_MEMORY = Path("/dev/shm")
ENOUGH_SHARED_MEMORY = 512 * 2**20  # bytes; Docker gives 64 MiB


def machine() -> Iterator[str]:
    """Lines on the processors and on each accelerator; those of problems start with `!`."""
    memory = size_text(free_memory(torch.device("cpu")))
    yield f"cpu: {num_processors()} of {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory} free"
    yield from _cuda() if torch.version.cuda else _no_cuda_build()
    if torch.backends.mps.is_available():
        yield "mps: available, trainer=mps"
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        yield "- a C compiler, for model.compile=true: install gcc"
    if SHARED_MEMORY.exists() and (total := shutil.disk_usage(SHARED_MEMORY).total) < ENOUGH_SHARED_MEMORY:
        fix = "give the container more, as docker run --shm-size=8g, or set data.num_workers=0"
        yield f"! {SHARED_MEMORY} has {size_text(total)}, little for data workers and NCCL: {fix}"


def _no_cuda_build() -> Iterator[str]:
    if NVIDIA_DRIVER.exists():
        yield "! there is an NVIDIA driver, but this PyTorch is built without CUDA: see pytorch.org/get-started"


def _cuda() -> Iterator[str]:
    with warnings.catch_warnings(record=True):  # why there is no device: told below
        found = torch.cuda.is_available()
    if not found:
        problem = "! " if NVIDIA_DRIVER.exists() else ""
        yield f"{problem}no CUDA device, with this PyTorch for CUDA {torch.version.cuda}: {_why_none()}"
        return
    nccl = torch.distributed.is_available() and torch.distributed.is_nccl_available()
    version = ".".join(map(str, torch.cuda.nccl.version())) if nccl else "missing, which trainer=ddp needs"
    cudnn = torch.backends.cudnn.version()
    driver = nvidia_driver() or "of unknown version"
    yield f"NVIDIA driver {driver}, CUDA {torch.version.cuda}, cuDNN {cudnn}, NCCL {version}"
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)


def _why_none() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return (explain_device_failure(error, "train") or str(error).splitlines()[0]).removeprefix("train: ")
    return "use trainer=cpu"


def _gpu(index: int) -> str:
    """What a GPU is, and whether it computes at all: a kernel is the only proof."""
    try:
        free, total = torch.cuda.mem_get_info(index)
        torch.ones(1, device=f"cuda:{index}").add_(1).item()
    except RuntimeError as error:
        problem = f"! cuda:{index}"
        return explain_device_failure(error, problem) or f"{problem}: {str(error).splitlines()[0]}"
    major, minor = torch.cuda.get_device_capability(index)
    types = "bf16 and TF32" if major >= 8 else "no bf16, no TF32: trainer.precision=16-mixed"
    memory = f"{size_text(free)} of {size_text(total)} free"
    name = torch.cuda.get_device_name(index)
    return f"cuda:{index}: {name}, {memory}, compute capability {major}.{minor}, {types}"
