"""CPU clocks. Unlike wall time, CPU time hardly depends on what else the machine does."""

import resource


def seconds_of_children() -> float:
    """CPU seconds of all processes that this one has started and waited for, and of those that they had started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
