"""Numbers of bytes for people."""

import math


def size_text(num_bytes: int) -> str:
    """A number of bytes as in `1.5 GiB`."""
    power = min(int(math.log2(max(num_bytes, 1))) // 10, 4)
    return f"{num_bytes / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
