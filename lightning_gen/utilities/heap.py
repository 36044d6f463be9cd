"""The C library's heap: freed memory is kept, since each training step needs as much again."""

import ctypes
import sys
from contextlib import suppress

# Of mallopt(3), in malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees; without effect where the C library is another than glibc.

    By default glibc returns large blocks to the system, which clears each page of them at its next use: that took 5 to
    9 % of the CPU time of steps whose tensors have more than 128 KiB. The most memory that a process has at any time
    stays about the same.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM_THRESHOLD, LARGEST)
        mallopt(MMAP_THRESHOLD, LARGEST)
