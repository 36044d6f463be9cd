"""The machine: free memory, processors and devices."""

import os
import platform
import re
from pathlib import Path

import torch

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def free_memory(device: torch.device) -> int:
    """Free bytes of a CUDA device, else of main memory, up to the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(main_memory(), _number("/proc/meminfo", "MemAvailable:", 1024))


def main_memory() -> int:
    """Bytes of main memory, free or not, up to the limit of a container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total, _number("/sys/fs/cgroup/memory.max", "", 1))


def num_processors() -> int:
    """The number of processors for this process: a batch scheduler often grants fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def nvidia_driver() -> str | None:
    """The version of NVIDIA's driver, by the kernel's own file, which only Linux has; None if it is unknown."""
    text = NVIDIA_DRIVER.read_text() if NVIDIA_DRIVER.exists() else ""
    version = re.search(r"\d+\.\d+(\.\d+)?", text)
    return version[0] if version else None


def device_name(device: torch.device) -> str:
    """The maker's name of a CUDA device, else of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    name = re.search(r"model name\s*: (.*)", text)
    return name[1] if name else platform.machine()


def _number(path: str, key: str, unit: int) -> int:
    """The number after `key` in a system file, times `unit`; without the file (another system) or the number, 2^63."""
    no_limit = 2**63
    try:
        text = Path(path).read_text()
    except OSError:
        return no_limit
    words = text.partition(key)[2].split() if key else text.split()
    return int(words[0]) * unit if words and words[0].isdigit() else no_limit
