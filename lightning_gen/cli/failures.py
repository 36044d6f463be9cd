"""Failures of the machine, not of the program: files that cannot be read or written, and too little memory."""

import os
import re
from collections.abc import Iterator

from lightning_gen.cli.device_failures import explain_device_failure

# What PyTorch's allocators say, beside raising OutOfMemoryError.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|Cannot allocate memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|[Ss]torage size calculation overflowed|numel: integer multiplication overflow|array is too big"
    r"|cannot fit 'int' into an index-sized integer|Unable to allocate|Maximum allowed dimension"
    r"|CUDNN_STATUS_INTERNAL_ERROR_\w+_ALLOCATION_FAILED"
)
_NOT_DETERMINISTIC = re.compile(r"(\w+) does not have a deterministic implementation")
# By command; the others take `batch_size` and `n`, or neither.
_SMALLER = {
    "train": "data.batch_size or model, or the batch in parts as model.accumulate=2",
    "evaluate": "batch_size",
    "inspect": "data.size or data.num_images",
}


def explain_failure(error: BaseException, command: str) -> str | None:
    """The one line for an error that the machine caused, with the fix; None for a bug in the program."""
    for cause in _causes(error):
        if isinstance(cause, MemoryError) or _is_out_of_memory(cause):
            smaller = _SMALLER.get(command, "n or batch_size")
            reason = _first_line(cause).partition(" Including non-PyTorch memory")[0]  # CUDA's has five sentences
            return f"{command}: out of memory ({reason.rstrip('.')}); give a smaller {smaller}"
        if line := explain_device_failure(cause, command):
            return line
        if isinstance(cause, OSError):
            return _os_error(cause)
        if refused := _NOT_DETERMINISTIC.search(str(cause)):
            fix = "use trainer.deterministic=warn, which trains with it"
            return f"trainer.deterministic=true: {refused[1]} has no deterministic form on this device; {fix}"
        if "got mixed torch.Tensor and DTensor" in str(cause):
            why = "a network of this model uses weights while they are divided"
            return f"trainer.sharded=true: {why}; use trainer=ddp, or name its `blocks()` (docs/plugins.md)"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # torch's writer raises RuntimeError while the error of our file is on its way.
        writer = isinstance(cause, RuntimeError) and isinstance(cause.__context__, OSError)
        cause = cause.__cause__ or (cause.__context__ if writer else None)


def _is_out_of_memory(error: BaseException) -> bool:
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError | ValueError | OverflowError) and bool(_OUT_OF_MEMORY.search(str(error)))


def _os_error(error: OSError) -> str:
    reason = error.strerror or _first_line(error)
    files = [_target(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(dict.fromkeys(files)) or type(error).__name__}: {reason}{_fix(error)}"


def _target(name: str | bytes | int) -> str:
    """The file that was to be written, where an atomic write failed at its temporary one."""
    text = os.fsdecode(name) if isinstance(name, str | bytes) else str(name)
    return re.sub(r"(^|/)\.([^/]+)\.\d+\.tmp$", r"\1\2", text)


def _fix(error: OSError) -> str:
    import errno

    fixes = {
        errno.ENOSPC: "make room, or name another folder",
        errno.EDQUOT: "make room, or name another folder",
        errno.EROFS: "name a folder that can be written",
        errno.EACCES: "change its permissions, or name another one",
        errno.EPERM: "change its permissions, or name another one",
        errno.EEXIST: "it is there already, name another one",
        errno.ENOENT: "make its folder, or name another file",
        errno.EISDIR: "it is a folder, name a file",
        errno.ENOTDIR: "a part of its path is a file, name a folder",
        errno.ENAMETOOLONG: "give a shorter name",
        errno.EMFILE: "raise the limit with `ulimit -n 4096`, or lower data.num_workers",
        errno.ENFILE: "close other programs, or lower data.num_workers",
    }
    fix = fixes.get(error.errno or 0)
    return f"; {fix}" if fix else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
